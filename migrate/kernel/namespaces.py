"""Namespaces: unshare(2), setns(2) and the CLONE_NEW* flags.

`os.unshare` and `os.setns` exist only from Python 3.12 on, so the calls go through libc.
"""

from __future__ import annotations

import ctypes
import os

from migrate.kernel.bare import contextlib
from migrate.kernel.libc import libc, oserror

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator

# include/uapi/linux/sched.h
CLONE_NEWTIME = 0x0000_0080
CLONE_FILES = 0x0000_0400
CLONE_PARENT = 0x0000_8000
CLONE_FS = 0x0000_0200
CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

FLAG_OF_NAME = {
    "mnt": CLONE_NEWNS,
    "net": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
    "user": CLONE_NEWUSER,
}
"""The flag of each file in /proc/PID/ns (`*_for_children` apart)."""

libc.unshare.argtypes = (ctypes.c_int,)
libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """Leave the shared namespaces of `flags` for fresh ones (unshare(2)); raises OSError.

    CLONE_NEWPID and CLONE_NEWTIME take effect for the children only.
    """
    if libc.unshare(flags) != 0:
        raise oserror(f"unshare {flags:#x}")


def setns(descriptor: int, flags: int = 0) -> None:
    """Enter the namespace of an open /proc/PID/ns file, or those `flags` of a pidfd (setns(2)).

    Raises OSError. A pid namespace is entered by the children only; a mount namespace not by a
    process with several threads (EINVAL).
    """
    if libc.setns(descriptor, flags) != 0:
        raise oserror(f"setns {flags:#x}")


def set_host_name(name: str) -> None:
    """Name this uts namespace (sethostname(2)); raises OSError."""
    raw = name.encode()
    if libc.sethostname(raw, len(raw)) != 0:
        raise oserror(f"sethostname {name}")


def namespace_id(name: str, pid: int | str = "self") -> int:
    """The inode number that names a namespace of process `pid`; raises OSError when it is gone."""
    return os.stat(f"/proc/{pid}/ns/{name}").st_ino


@contextlib.contextmanager
def namespace_descriptor(name: str, pid: int | str = "self") -> Iterator[int]:
    """An open /proc/PID/ns/NAME, closed at the end; raises OSError when the process is gone."""
    descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
