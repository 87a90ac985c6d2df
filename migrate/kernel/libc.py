"""The C library, loaded once, and raw syscalls; every failure is an OSError with its errno kept."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

AT_FDCWD = -100

# Since Linux 5.x new syscalls have the same number on every architecture
# (include/uapi/asm-generic/unistd.h); the older ones that we need are listed for each.
SYS_PIDFD_SEND_SIGNAL = 424
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_OPENAT2 = 437
SYS_PIDFD_GETFD = 438
SYS_MOUNT_SETATTR = 442
_MACHINE = os.uname().machine  # at start: personality(2) can change what uname(2) says
_OLDER = {
    "x86_64": {
        "pivot_root": 155,
        "renameat2": 316,
        "capset": 126,
        "userfaultfd": 323,
        "rt_sigaction": 13,
        "close": 3,
        "kcmp": 312,
        "bpf": 321,
        "seccomp": 317,
        "sched_setattr": 314,
        "ioprio_set": 251,
        "set_mempolicy": 238,
        "keyctl": 250,
    },
    "aarch64": {
        "pivot_root": 41,
        "renameat2": 276,
        "capset": 91,
        "userfaultfd": 282,
        "rt_sigaction": 134,
        "close": 57,
        "kcmp": 272,
        "bpf": 280,
        "seccomp": 277,
        "sched_setattr": 274,
        "ioprio_set": 30,
        "set_mempolicy": 237,
        "keyctl": 219,
    },
}


def oserror(context: str, filename: str | os.PathLike[str] | None = None) -> OSError:
    """The calling thread's errno as an OSError whose text names the call that failed."""
    number = ctypes.get_errno()
    text = f"{context}: {os.strerror(number)}"
    return OSError(number, text, os.fspath(filename)) if filename else OSError(number, text)


def syscall_number(name: str) -> int:
    """The number of an older syscall on this architecture; LookupError where it is not known."""
    return _OLDER[_MACHINE][name]


def syscall(context: str, number: int, *arguments: object) -> int:
    """Call `number`; raises OSError naming `context` when the kernel answers an error."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *converted)
    if result < 0:
        raise oserror(context)
    return result
