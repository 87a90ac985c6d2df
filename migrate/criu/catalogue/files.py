"""Open files that CRIU can't dump: kinds, deleted ones, watches, locks, pipes, devices."""

from __future__ import annotations

from migrate.criu.catalogue.known import CLOSE, Known

# CRIU tells every kind of file that it does not support with this one line.
UNSUPPORTED = "Can't dump file %d of that type [%o] (%s %s)"
ANON = r"anon_inode:\[?(?:io_uring|userfaultfd|perf_event|bpf[-_]|btf|seccomp notify)"
NAMED = rf"{ANON}|\(chr |\[6\d{{4}}\]"

FILES = (
    Known(
        "io-uring-not-passed", "criu/pie/parasite.c", "drain_fds", "send_fds failed (%d)",
        "a process uses io_uring, which CRIU can't dump: since Linux 6.7 the kernel refuses to "
        "pass it from process to process",
        "switch io_uring off in the program", r"\(-22\)",
    ),
    Known(
        "io-uring", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process uses io_uring, which CRIU can't dump",
        "switch io_uring off in the program", r"\(anon anon_inode:\[io_uring\]",
    ),
    Known(
        "userfaultfd", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process handles page faults itself by a userfaultfd, which CRIU can't dump",
        CLOSE, r"\(anon anon_inode:\[userfaultfd\]",
    ),
    Known(
        "perf-event", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process measures performance events (perf_event_open), which CRIU can't dump",
        "end perf or the profiler first", r"\(anon anon_inode:\[perf_event\]",
    ),
    Known(
        "bpf", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process holds a BPF program, map or link, which this CRIU can't dump",
        "unload it first, or load it on the host, outside the container",
        r"\(anon anon_inode:\[?(?:bpf[-_]|btf)",
    ),
    Known(
        "seccomp-notifier", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process supervises the system calls of another (seccomp notify), which CRIU can't dump",
        "end the supervisor first", r"\(anon anon_inode:seccomp notify",
    ),
    Known(
        "character-device", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process has a character device open; its numbers are in the line (FUSE is 10:229, "
        "KVM 10:232, a graphics card 226)",
        "close the device first: its state is in the driver, and can't be moved",
        r"\(chr \d+:\d+\)",
    ),
    Known(
        "block-device", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process has a block device open", "close it first, and give it a mount instead",
        r"\[6\d{4}\]",
    ),
    Known(
        "unsupported-file", "criu/files-ext.c", "dump_unsupp_fd", UNSUPPORTED,
        "a process has a kind of file open that CRIU can't dump, named at the end of the line",
        CLOSE, rf"^(?!.*(?:{NAMED}))",
    ),
    Known(
        "pidfd-outside", "criu/pidfd.c", "dump_one_pidfd",
        "pidfd: pidfd pid %d is not a part of process tree..",
        "a process holds a pidfd of a process outside the container", CLOSE,
    ),
    Known(
        "pidfd-thread", "criu/pidfd.c", "dump_one_pidfd",
        "pidfd: PIDFD_THREAD flag is currently not supported",
        "a process holds a pidfd of a single thread (PIDFD_THREAD), which CRIU can't dump", CLOSE,
    ),
    Known(
        "ghost-too-large", "criu/files-reg.c", "dump_ghost_remap",
        "Can't dump ghost file %s of %lu size, increase limit",
        "a deleted file that is still open is larger than 1 GiB",
        "close it first, or give it a name again",
    ),
    Known(
        "link-remap-refused", "criu/files-reg.c", "create_link_remap", "Can't link remap to %s: %s",
        "a deleted file that is still open has another name, and CRIU may not link it anew there",
        "close it first; or look at the file system: it must be writable and allow hard links",
    ),
    Known(
        "link-remap-off", "criu/files-reg.c", "create_link_remap",
        "Can't create link remap for %s. Use link-remap option.",
        "a deleted file that is still open has another name", CLOSE,
    ),
    Known(
        "name-reused", "criu/files-reg.c", "check_path_remap",
        "Unaccessible path opened %u:%u, need %u:%u",
        "another file or mount has taken the name of a file that a process has open",
        "have the program open it again (most do on SIGHUP, or at a restart)",
    ),
    Known(
        "path-not-supported", "criu/files-reg.c", "dump_one_reg_file",
        "The path [%s] is not supported",
        "a process has a file open that has no path in the container", CLOSE,
    ),
    Known(
        "file-locks-off", "criu/file-lock.c", "dump_file_locks",
        "Some file locks are hold by dumping tasks! You can try --file-locks to dump them.",
        "a process holds a lock on a file, and CRIU was not told to keep locks",
        "this is no dump of migrate's, which keeps them: give CRIU --file-locks",
    ),
    Known(
        "lock-unresolved", "criu/file-lock.c", "dump_file_locks",
        "Unresolved lock found pid %d ino %ld",
        "a lock on a file belongs to a process outside the container, or its file is not open",
        "let go of the lock first (/proc/locks shows it), or run its holder in the container",
    ),
    Known(
        "lease-breaking", "criu/file-lock.c", "lease_check_fd",
        "Lease doesn't conflicts but breaks",
        "a process holds a lease on a file that another one is just breaking (fcntl F_SETLEASE)",
        "wait until the lease is given back (45 s at most), then try again",
    ),
    Known(
        "lease-not-restored", "criu/file-lock.c", "restore_file_lease",
        "Can't restore non breaking lease: %s",
        "a lease on a file can't be had again: another process has that file open here",
        "close it there (fuser names it), then try again",
    ),
    Known(
        "watch-without-path", "criu/fsnotify.c", "check_open_handle",
        "fsnotify: \tCan't dump that handle",
        "a process watches a file (inotify, fanotify) that CRIU finds no path for",
        "end the watch first; or watch a directory that still has its name",
    ),
    Known(
        "watch-on-tmpfs", "criu/fsnotify.c", "check_open_handle",
        "fsnotify: Can't find suitable path for handle (dev %#x ino %#lx): %d",
        "a process watches a deleted file in a tmpfs (inotify, fanotify)",
        "end the watch first, or keep the file",
    ),
    Known(
        "watch-outside", "criu/fsnotify.c", "check_open_handle",
        "fsnotify: Unable to lookup a mount by dev 0x%x",
        "a process watches a file on a file system that is not mounted in the container",
        "end the watch first, or mount that directory into the container with -v",
    ),
    Known(
        "fanotify-mount", "criu/fsnotify.c", "check_one_mark", "fsnotify: Can't find mnt_id 0x%x",
        "a process watches a mount by fanotify that is not in the container",
        "end the watch first, or mount that directory into the container with -v",
    ),
    Known(
        "watch-not-restored", "criu/fsnotify.c", "restore_one_inotify",
        "fsnotify: Can't add watch for 0x%x with 0x%x: %s",
        "an inotify watch could not be made again: its file is not there, or the user has too many",
        "raise fs.inotify.max_user_watches here (sysctl), and look that the files are all there",
    ),
    Known(
        "inotify-instances", "criu/fsnotify.c", "open_inotify_fd",
        "fsnotify: Can't create inotify for %#08x: %s",
        "an inotify could not be made: the user has too many here",
        "raise fs.inotify.max_user_instances here (sysctl), then try again",
    ),
    Known(
        "packet-pipe", "criu/pipes.c", "dump_one_pipe",
        "The packetized mode for pipes is not supported yet",
        "a process has a pipe in packet mode (O_DIRECT), which CRIU can't dump", CLOSE,
    ),
    Known(
        "fifo-missing", "criu/fifo.c", "do_open_fifo", "Can't open fifo %#x [%s]: %s",
        "a named pipe that a process has open is not there any more, or can't be opened",
        "make it again with mkfifo, or put its directory into a volume that goes along",
    ),
    Known(
        "tun-not-in-netns", "criu/tun.c", "dump_tunfile",
        "tun: Net namespace is required to dump tun link",
        "a process has a tun or tap device open, but uses the host's network",
        "run the container with a network of its own (--network bridge), or close the device",
    ),
    Known(
        "tun-filter", "criu/tun.c", "__dump_tun_link_fd", "tun: Can't dump %s with filter on-board",
        "a tap device has a filter attached, which CRIU can't dump",
        "detach the filter first (TUNDETACHFILTER), or close the device",
    ),
)  # fmt: skip
