"""Files of a procfs, never what is mounted over them (CVE-2019-16884, CVE-2025-52881)."""

from __future__ import annotations

import ctypes
import os
import sys

from migrate.kernel.files import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from migrate.kernel.libc import libc, oserror

_MAGIC = 0x9FA0  # include/uapi/linux/magic.h, PROC_SUPER_MAGIC
_ROOT_INODE = 1  # include/linux/proc_fs.h, PROC_ROOT_INO
_STATFS_SIZE = 256  # more than struct statfs has; its first member is the type, a long
_STRICT = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS


def is_procfs(descriptor: int, *, root: bool = False) -> bool:
    """Whether a file is on a procfs; `root`: and is its root. Raises OSError."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    if libc.fstatfs(descriptor, buffer) != 0:
        raise oserror("fstatfs")
    size = ctypes.sizeof(ctypes.c_long)
    if int.from_bytes(buffer.raw[:size], sys.byteorder) != _MAGIC:
        return False
    return not root or os.fstat(descriptor).st_ino == _ROOT_INODE


def write(path: str, text: str) -> None:
    """Write to `path` below /proc; raises OSError, EXDEV where something is mounted on the way."""
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not is_procfs(proc, root=True):
            raise OSError(40, "/proc is no procfs")
        descriptor = openat2(proc, path, os.O_WRONLY, resolve=_STRICT)
    finally:
        os.close(proc)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
