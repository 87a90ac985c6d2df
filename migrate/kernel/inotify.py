"""inotify(7): which of several files were written to, and that something was changed."""

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
_BUFFER = 4096  # bytes; a larger one costs more to make than to read twice


def open_queue() -> int:
    """A non-blocking descriptor that tells of nothing yet; raises OSError."""
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise oserror("inotify_init1")
    return descriptor


def watch_writes(queue: int, file: int) -> int:
    """Have `queue` tell of writes to the file behind the descriptor `file`; the watch's number.

    Raises OSError.
    """
    path = f"/proc/self/fd/{file}"
    number: int = libc.inotify_add_watch(queue, path.encode(), IN_MODIFY)
    if number < 0:
        raise oserror(f"inotify_add_watch of {path}")
    return number


def written(queue: int) -> set[int] | None:
    """The watches whose files were written to since the last call; None: some were not told."""
    numbers: set[int] = set()
    while True:
        try:
            raw = os.read(queue, _BUFFER)
        except BlockingIOError:
            return numbers
        at = 0
        while at < len(raw):
            number, mask, _cookie, length = _EVENT.unpack_from(raw, at)
            at += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:
                return None
            numbers.add(number)


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
