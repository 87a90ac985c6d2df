"""Every syscall, ioctl, netlink and /proc reading, wrapped once, errno kept."""
