"""Parts of files: holes, runs of zeros, pipe sizes, syncfs(2)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel.libc import libc, oserror

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2  # include/uapi/linux/falloc.h

libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
libc.syncfs.argtypes = (ctypes.c_int,)

_ZEROS = bytes(16)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Make a range read as zeros and free its blocks; the size stays.

    Raises OSError EOPNOTSUPP where the file system has no holes.
    """
    if libc.fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0:
        raise oserror("fallocate PUNCH_HOLE")


def is_zero(buffer: bytearray, offset: int, length: int) -> bool:
    """Whether `length` bytes (at least one) of the buffer are all zero."""
    if buffer[offset : offset + 16] != _ZEROS[:length]:
        return False
    first = ctypes.addressof(ctypes.c_char.from_buffer(buffer, offset))
    return bool(libc.memcmp(first, first + 1, length - 1) == 0)


def segments(descriptor: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """The ranges (offset, length, is_data) of a file's first `size` bytes, by SEEK_DATA."""
    position = 0
    while position < size:
        try:
            data = min(os.lseek(descriptor, position, os.SEEK_DATA), size)
            hole = min(os.lseek(descriptor, data, os.SEEK_HOLE), size) if data < size else size
        except OSError as error:
            # ENXIO: no data any more. EINVAL and others: a file system without SEEK_DATA.
            data, hole = (size, size) if error.errno == errno.ENXIO else (position, size)
        if data > position:
            yield position, data - position, False
        if hole > data:
            yield data, hole - data, True
        position = hole


def syncfs(descriptor: int) -> None:
    """Write everything of the descriptor's file system to the disk."""
    if libc.syncfs(descriptor) != 0:
        raise oserror("syncfs")


def sync_file_system(directory: Path) -> None:
    """Write everything of the file system that holds a directory to the disk; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(descriptor)
    finally:
        os.close(descriptor)


def enlarge_pipe(descriptor: int) -> None:
    """Give a pipe the largest buffer that /proc/sys/fs/pipe-max-size allows; else leave it."""
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/proc/sys/fs/pipe-max-size").read_text())
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, min(limit, 4 << 20))
