"""inotify(7): a descriptor that is readable when a file has changed."""

from __future__ import annotations

import ctypes
import os

from migrate.kernel.libc import libc, oserror

# include/uapi/linux/inotify.h
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_EVENTS_LIMIT = 65536  # bytes

libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


class FileWatch:
    """What happens to paths; `fileno` makes it fit for select and poll. A context manager."""

    def __init__(self) -> None:
        """Raises OSError: EMFILE when the user has no more inotify instances."""
        self._descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise oserror("inotify_init1")

    def __enter__(self) -> FileWatch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def add(self, path: str | os.PathLike[str], events: int) -> None:
        """Watch a file, or the names in a directory, for IN_* `events`; raises OSError."""
        if libc.inotify_add_watch(self._descriptor, os.fsencode(path), events) < 0:
            raise oserror("inotify_add_watch", path)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def clear(self) -> bool:
        """Take all events that have come; whether there was one."""
        try:
            return bool(os.read(self._descriptor, _EVENTS_LIMIT))
        except BlockingIOError:
            return False
