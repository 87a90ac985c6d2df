"""inotify(7): which files of a directory were written to, and that something was changed."""

from __future__ import annotations

import errno
import os
import struct

from migrate.kernel.libc import libc, oserror

IN_MODIFY = 0x2
IN_CLOSE_WRITE, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x80, 0x100, 0x200
LINK = "anon_inode:inotify"
"""What /proc/PID/fd shows for such a descriptor."""
_IN_Q_OVERFLOW, _IN_IGNORED = 0x4000, 0x8000
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


class Watches:
    """Several things watched by one descriptor; a context manager.

    It tells only that something happened (the descriptor is readable): who wants to know what looks
    himself, and so nothing is lost when the kernel's queue overflows.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self.descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0:
            raise oserror("inotify_init1")
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Watches:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def add(self, path: str, mask: int) -> bool:
        """Watch a file or directory; whether that is new. False, too, where there is none.

        Raises OSError: ENOSPC at the limit of watches (fs.inotify.max_user_watches).
        """
        if path in self._numbers:
            return False
        number: int = libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
        if number < 0:
            error = oserror(f"inotify_add_watch of {path}")
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                return False
            raise error
        self._numbers[path] = number
        return True

    def clear(self) -> None:
        """Read what has been told; what is no more can be watched anew."""
        while True:
            try:
                raw = os.read(self.descriptor, _BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(raw):
                number, mask, _cookie, length = _EVENT.unpack_from(raw, at)
                at += _EVENT.size + length
                if mask & _IN_IGNORED:
                    gone = [path for path, own in self._numbers.items() if own == number]
                    for path in gone:
                        del self._numbers[path]
