"""Which files the processes of a frozen container share in memory, found by the kernel's own links.

Writing to a shared mapping changes a file, and its times only now and then. A mapping counts
whatever its permissions are: mprotect(2) makes it writable again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.filesystems import (
    BTRFS,
    EXT,
    F2FS,
    HUGETLBFS,
    OVERLAY,
    RAMFS,
    TMPFS,
    XFS,
    magic,
)
from migrate.kernel.maps import Mapping, shared_maps

Identity = tuple[int, int]
"""A file's (st_dev, st_ino)."""

_PLAIN = {EXT, XFS, BTRFS, F2FS, TMPFS, RAMFS, HUGETLBFS}  # a file there is no other file's front


@dataclass(frozen=True)
class Mapped:
    """The files that were found; unless `complete`, it may be any other as well."""

    files: frozenset[Identity] = frozenset()
    complete: bool = False

    def may_hold(self, file: Identity) -> bool:
        """Whether that file may be mapped."""
        return not self.complete or file in self.files


class _UnknownError(Exception):
    """A mapping of which it can't be said what it shows."""


def shared_files(pids: Iterable[int], upper: Path) -> Mapped:
    """The files that these frozen processes map shared; those of the overlay as files of `upper`.

    Anything in doubt (a deleted name, another overlay, a ring of asynchronous I/O, a chroot) makes
    the answer incomplete.
    """
    try:
        return Mapped(frozenset(f for pid in pids for f in _of_process(pid, upper)), complete=True)
    except (_UnknownError, OSError, ValueError, IndexError):
        return Mapped()


def _of_process(pid: int, upper: Path) -> Iterator[Identity]:
    try:
        text = Path(f"/proc/{pid}/maps").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # killed, though frozen
        return
    if not text and len(os.listdir(f"/proc/{pid}/task")) > 1:  # noqa: PTH208  a dead first thread
        raise _UnknownError
    for mapping in shared_maps(text):
        yield from _shown(pid, mapping, upper)


def _shown(pid: int, mapping: Mapping, upper: Path) -> Iterator[Identity]:
    """The file behind a mapping, if it can be one of ours (proc(5), /proc/pid/map_files)."""
    link = Path(f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}")
    status, kind = link.stat(), magic(link)
    if kind in _PLAIN:
        yield status.st_dev, status.st_ino
        return
    root = Path(f"/proc/{pid}/root")
    if kind != OVERLAY or status.st_dev != root.stat().st_dev:
        raise _UnknownError
    name = mapping.name.lstrip("/")
    if not os.path.samestat((root / name).lstat(), status):
        raise _UnknownError
    try:
        real = (upper / name).lstat()
    except FileNotFoundError:  # of a lower layer, which nobody writes
        return
    yield real.st_dev, real.st_ino
