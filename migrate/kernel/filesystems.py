"""Which kind of file system something is on: statfs(2)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from migrate.kernel.libc import libc, oserror

EXT, XFS, BTRFS, F2FS = 0xEF53, 0x58465342, 0x9123683E, 0xF2F52010
TMPFS, RAMFS, HUGETLBFS = 0x01021994, 0x858458F6, 0x958458F6
OVERLAY = 0x794C7630  # all from include/uapi/linux/magic.h

libc.statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)


def magic(path: Path | str) -> int:
    """The file system's `f_type`; links are followed. Raises OSError."""
    buffer = (ctypes.c_ulong * 32)()  # struct statfs has 120 bytes; its first field is f_type
    if libc.statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
        raise oserror("statfs", path)
    return int(buffer[0]) & 0xFFFFFFFF
