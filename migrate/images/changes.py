"""A tree that is sent twice: whole while it is in use, and later what has changed since.

What the other side holds is known by path, each entry as it was before it was read. Whether one is
unchanged since then, the caller says. The second tar is a form of ours: whiteouts mean what they
mean in the first, and a member marked as removed names what the other side has to take away.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from migrate.errors import MigrateError
from migrate.images.apply import OPAQUE, Unpacking, is_whiteout
from migrate.images.diff import Entry, Packing, Staged, is_opaque
from migrate.images.errors import ImageArchiveBad, disk_full_told
from migrate.images.rootdir import RootDirectory, below, split_name
from migrate.images.tarread import DEFAULT_LIMITS, Kind, Limits, Member, Source, TarReader
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

Signature = tuple[int, int, int, int]
"""Inode, size in bytes, time of modification and of change in ns."""
LeftOut = Callable[[os.stat_result], bool]
"""Whether an entry of this status is not to be sent at first."""
Unchanged = Callable[[Signature, os.stat_result], bool]
"""Whether what was sent with that signature is what is there now, of this status."""

MOST_ENTRIES = 500_000
"""Of one tree; each takes some 500 bytes of memory. Others travel with the changes."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_FOLLOW = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_WHITEOUT: Signature = (0, 0, 0, 0)
"""All whiteouts are alike, and overlay makes them links of one file, whose times change."""


def signature(status: os.stat_result) -> Signature:
    """What changes with the content or the attributes, but for what a mapping has written."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass
class Known:
    """What the other side holds of a tree."""

    entries: dict[bytes, Signature] = field(default_factory=dict)
    """By path, `.` among them."""
    names: dict[bytes, set[bytes]] = field(default_factory=dict)
    """By path of a directory."""

    def note(self, path: bytes, entry: Signature) -> None:
        """The other side is being sent this entry."""
        self.entries[path] = entry
        if path != b".":
            parent, _, name = path.rpartition(b"/")
            self.names.setdefault(parent or b".", set()).add(name)


def write_known(directory: Path, out: BinaryIO, *, overlay: bool, left_out: LeftOut) -> Known:
    """Write `directory`, which is in use, as `write_layer` does; what `out` holds of it.

    Raises as `write_layer`.
    """
    with disk_full_told(Path(str(getattr(out, "name", "the tree's destination")))):
        root = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        try:
            packing = _NotingPacking(root, out, overlay=overlay, left_out=left_out)
            packing.run()
            return packing.known
        finally:
            os.close(root)


def write_changes(
    directory: Path, out: BinaryIO, known: Known, unchanged: Unchanged, *, overlay: bool,
    staged: Staged | None = None,
) -> None:  # fmt: skip
    """Write what makes the tree that the other side holds (`known`) the one in `directory`.

    That one must not change meanwhile. Raises as `write_layer`.
    """
    with disk_full_told(Path(str(getattr(out, "name", "the changes' destination")))):
        root = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        try:
            packing = _ChangesPacking(root, out, overlay=overlay, staged=staged)
            packing.run_changes(known, unchanged)
        finally:
            os.close(root)


def update_tree(
    stream: Source, directory: Path, *, limits: Limits = DEFAULT_LIMITS,
    staged: Callable[[int, int, int, bytes], None] | None = None,
) -> None:  # fmt: skip
    """Bring `directory`, made of what `write_known` wrote, up to date with what followed.

    After a failure it is neither the old nor the new one. Raises as `apply_layer`.
    """
    with disk_full_told(directory), RootDirectory(directory) as root:
        reader = TarReader(stream, limits, need_end=True, staged=staged is not None, removals=True)
        _Updating(root, reader, staged).run()


class _NotingPacking(Packing):
    """Packs a tree, and notes each entry as it was before it was read."""

    def __init__(self, root: int, out: BinaryIO, *, overlay: bool, left_out: LeftOut) -> None:
        super().__init__(root, out, overlay=overlay)
        self._left_out = left_out
        self.known = Known()

    def _entry(self, entry: Entry, status: os.stat_result) -> None:
        if self._left_out(status) or len(self.known.entries) >= MOST_ENTRIES:
            return
        super()._entry(entry, status)
        gone = self._overlay and is_whiteout(status)
        self.known.note(entry.path, _WHITEOUT if gone else signature(status))


@dataclass
class _Survey:
    """What one directory has, against what the other side holds of it."""

    removed: set[bytes]  # names that the other side has to take away, perhaps for another entry
    written: list[tuple[Entry, os.stat_result]] = field(default_factory=list)
    subdirectories: list[tuple[bytes, bool]] = field(default_factory=list)  # and if they are new

    @property
    def is_different(self) -> bool:
        return bool(self.removed or self.written) or any(new for _, new in self.subdirectories)


class _ChangesPacking(Packing):
    """Packs what has changed; each directory's own entry, too, where anything in it has.

    For its time changes at the other side as well, when that makes the same change.
    """

    def run_changes(self, known: Known, unchanged: Unchanged) -> None:
        self._known, self._unchanged = known, unchanged
        self._kept: set[tuple[int, int]] = set()  # files that the other side has by some name
        todo = [(b".", False)]
        while todo:
            path, fresh = todo.pop()
            descriptor = openat2(self._root, path, _DIRECTORY, resolve=_NO_FOLLOW)
            try:
                todo += reversed(self._compare(descriptor, path, fresh=fresh))
            finally:
                os.close(descriptor)
        self._end()

    def _compare(self, directory: int, path: bytes, *, fresh: bool) -> list[tuple[bytes, bool]]:
        """Write what has changed in one directory; its subdirectories, and whether they are new.

        Of a `fresh` one the other side holds nothing.
        """
        found = self._survey(directory, path, fresh=fresh)
        status = os.fstat(directory)
        if fresh or found.is_different or not self._is_same(self._known.entries[path], status):
            self._write_directory(Entry(directory, b".", path), status, found.removed)
        for entry, status in found.written:
            self._entry(entry, status)
        return found.subdirectories

    def _survey(self, directory: int, path: bytes, *, fresh: bool) -> _Survey:
        prefix = b"" if path == b"." else path + b"/"
        held = set() if fresh else self._known.names.get(path, set())
        found = _Survey(removed=set(held))
        for name in sorted(os.fsencode(each) for each in os.listdir(directory)):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                continue
            entry = Entry(directory, name, prefix + name)
            before = self._known.entries[entry.path] if name in held else None
            is_new = before is None or not self._replaces_in_place(before, status)
            if not is_new:
                found.removed.discard(name)
            if stat.S_ISDIR(status.st_mode):
                if status.st_dev == self._device:
                    found.subdirectories.append((entry.path, is_new))
            elif (
                before is None
                or not self._is_same(before, status)
                or self._is_apart(entry, status)
            ):  # fmt: skip
                found.written.append((entry, status))
        return found

    def _replaces_in_place(self, before: Signature, status: os.stat_result) -> bool:
        """Whether the other side can take what is there now for what it holds of that name.

        A directory must be the same one, or else what is in the other's would stay. A whiteout
        is an order about lower layers, never about this one.
        """
        if self._overlay and is_whiteout(status):
            return before == _WHITEOUT
        if stat.S_ISDIR(status.st_mode):
            return before[0] == status.st_ino
        return True

    def _is_same(self, before: Signature, status: os.stat_result) -> bool:
        if self._overlay and is_whiteout(status):
            return before == _WHITEOUT
        return self._unchanged(before, status)

    def _is_apart(self, entry: Entry, status: os.stat_result) -> bool:
        """Whether an entry that is the same is not one file there with others that it is one with.

        A name that comes into another directory with its own leaves no trace in the file.
        """
        if status.st_nlink == 1:
            return False
        file = status.st_dev, status.st_ino
        if file in self._linked and file not in self._kept:
            return True  # it was written anew, by another name
        self._linked.setdefault(file, entry.path)
        self._kept.add(file)
        return False

    def _write_directory(
        self, entry: Entry, status: os.stat_result, removed: Collection[bytes]
    ) -> None:  # fmt: skip
        """A directory's own entry, and what it has no more."""
        prefix = b"" if entry.path == b"." else entry.path + b"/"
        self._entry(entry, status)
        if self._overlay and is_opaque(entry.parent):
            self._header(Member(prefix + OPAQUE, Kind.FILE, mode=0))
        for name in sorted(removed):
            self._header(Member(prefix + name, Kind.FILE, removed=True, literal=True))


class _Updating(Unpacking):
    """Unpacks changes into the tree that they are of."""

    failure: type[MigrateError] = ImageArchiveBad

    def _place(self, member: Member) -> None:
        parts = split_name(member.name)
        if member.removed:
            self._remove(parts)
            return
        if member.kind is Kind.DIRECTORY:
            self._strip(parts)
        super()._place(member)

    def _remove(self, parts: list[bytes]) -> None:
        """What is not there need not be: the path of a removed directory, say."""
        if parts:
            with contextlib.suppress(FileNotFoundError):
                self._root.remove(self._root.parent(parts[:-1], make=False), parts[-1])

    def _strip(self, parts: list[bytes]) -> None:
        """Take off all extended attributes of a directory that stays: the member has the new ones.

        The overlay's own among them; its member follows where it has one still.
        """
        try:
            parent = self._root.parent(parts[:-1], make=False) if parts else self._root.descriptor
            name = parts[-1] if parts else b"."
            path = below(parent, name)
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                return
            for key in os.listxattr(path, follow_symlinks=False):
                with contextlib.suppress(OSError):  # a security module's can't be taken off
                    os.removexattr(path, key, follow_symlinks=False)
        except OSError:
            return  # not there yet, or without such attributes
