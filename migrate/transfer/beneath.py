"""Files beneath one directory, by paths that come from the other side: none leads out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from migrate.transfer.errors import PathRefused
from migrate.transfer.frames import MAX_PATH

MAX_KNOWN_PARENTS = 100_000
MAX_DEPTH = 256  # what a recursive removal in Python still gets through
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def open_root(root: Path) -> int:
    """The directory's descriptor; raises PathRefused where others may write or read it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(root, flags)
    except OSError as error:
        raise PathRefused("the directory of a data connection is refused", cause=str(error)) from (
            error
        )
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        raise PathRefused(
            "the directory of a data connection is refused", cause="others may write or read it"
        )
    return descriptor


def checked_path(raw: bytes) -> str:
    """The path, refused before the kernel is asked if it could never be right."""
    parts = raw.split(b"/")
    if not raw or len(raw) > MAX_PATH or b"\0" in raw or not all(parts):
        raise PathRefused(f"{raw[:200]!r} is no relative path")
    if b"." in parts or b".." in parts:
        raise PathRefused(f"{raw[:200]!r} leads out of the directory")
    if len(parts) > MAX_DEPTH:
        raise PathRefused(f"a path has {len(parts)} levels, more than {MAX_DEPTH}")
    return os.fsdecode(raw)


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    """What the kernel says of a path that is not what it should be, as PathRefused."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
            raise PathRefused(f"{path!r} is refused", cause=str(error)) from error
        raise


class Beneath:
    """What may be opened beneath the directory `root_fd`; the descriptor stays the caller's."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._known_parents = {""}

    def open_file(self, path: str, mode: int, flags: int = 0) -> int:
        """A regular file for reading and writing, made if need be, with its directories.

        Raises PathRefused, OSError.
        """
        flags |= os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return self._open(path, flags, mode, stat.S_IFREG, "regular file")

    def open_fifo(self, path: str) -> int:
        """A FIFO, made if need be, for reading; raises PathRefused, OSError.

        It is open for writing, too: so it has no end, and what nobody has read waits in it.
        """
        parent, _, name = path.rpartition("/")
        with _refusing(path):
            self._make_parents(parent)
            flags = os.O_PATH | os.O_DIRECTORY
            above = openat2(self._root_fd, parent or ".", flags, resolve=_BENEATH)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(name, 0o600, dir_fd=above)
        finally:
            os.close(above)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = self._open(path, flags, 0, stat.S_IFIFO, "FIFO")
        os.set_blocking(descriptor, True)
        return descriptor

    def _open(self, path: str, flags: int, mode: int, kind: int, name: str) -> int:
        with _refusing(path):
            self._make_parents(path.rpartition("/")[0])
            descriptor = openat2(self._root_fd, path, flags, mode=mode, resolve=_BENEATH)
        if stat.S_IFMT(os.fstat(descriptor).st_mode) != kind:
            os.close(descriptor)
            raise PathRefused(f"{path!r} exists and is no {name}")
        return descriptor

    def _make_parents(self, parent: str) -> None:
        missing = []
        while parent not in self._known_parents:
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        for directory in reversed(missing):
            above, _, name = directory.rpartition("/")
            flags = os.O_PATH | os.O_DIRECTORY
            above_fd = openat2(self._root_fd, above or ".", flags, resolve=_BENEATH)
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=above_fd)
            finally:
                os.close(above_fd)
            if len(self._known_parents) < MAX_KNOWN_PARENTS:
                self._known_parents.add(directory)
