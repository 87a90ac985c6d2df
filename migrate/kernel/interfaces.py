"""Network interfaces, as far as plain ioctls reach (netdevice(7)); the rest is netlink's."""

from __future__ import annotations

import fcntl
import socket
import struct

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 0x1
_IFREQ_FLAGS = struct.Struct("16sh22x")


def bring_up(name: str) -> None:
    """Set the interface up in this network namespace; raises OSError (ENODEV: no such one)."""
    _set_flag(name, IFF_UP)


def bring_down(name: str) -> None:
    """Set the interface down in this network namespace; raises OSError (ENODEV: no such one)."""
    _set_flag(name, 0)


def _set_flag(name: str, up: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        request = _IFREQ_FLAGS.pack(name.encode(), 0)
        flags = _IFREQ_FLAGS.unpack(fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        request = _IFREQ_FLAGS.pack(name.encode(), (flags & ~IFF_UP) | up)
        fcntl.ioctl(handle, SIOCSIFFLAGS, request)
