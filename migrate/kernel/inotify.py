"""inotify(7): which files of a directory were written to."""

from __future__ import annotations

import os
import struct

from migrate.kernel.libc import libc, oserror

IN_MODIFY = 0x2
LINK = "anon_inode:inotify"
"""What /proc/PID/fd shows for such a descriptor."""
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("=iIII")  # include/uapi/linux/inotify.h, struct inotify_event
_BUFFER = 64 * 1024


def watch(directory: int) -> int:
    """A non-blocking descriptor that tells of writes to the files of the directory `directory`.

    Raises OSError.
    """
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise oserror("inotify_init1")
    path = f"/proc/self/fd/{directory}".encode()
    if libc.inotify_add_watch(descriptor, path, IN_MODIFY) < 0:
        error = oserror(f"inotify_add_watch of {path.decode()}")
        os.close(descriptor)
        raise error
    return descriptor


def written(descriptor: int) -> set[str] | None:
    """The names of the files that were written to since the last call; None: some were not told."""
    names: set[str] = set()
    while True:
        try:
            raw = os.read(descriptor, _BUFFER)
        except BlockingIOError:
            return names
        at = 0
        while at < len(raw):
            _watch, mask, _cookie, length = _EVENT.unpack_from(raw, at)
            at += _EVENT.size
            if mask & _IN_Q_OVERFLOW:
                return None
            names.add(os.fsdecode(raw[at : at + length].rstrip(b"\0")))
            at += length
