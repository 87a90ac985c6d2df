"""What a whole tree differs from the layers it was made of, as an OCI layer.

For drivers that have no upper. Copies are made first, then a stamp: the change time of a file made
when all copies are older. Whatever has a later change time was touched since (a program can set a
file's mtime, never its ctime: inode(7)), and so was what differs in its other attributes, should
the clock have been set back meanwhile.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from migrate.images.diff import Entry, Packing, Staged, whiteout
from migrate.images.errors import disk_full_told
from migrate.images.merged import Merged, attributes_of
from migrate.images.rootdir import below
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_NO_FOLLOW = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_stamp(file: Path) -> int:
    """Write the stamp into `file` when everything beside it is older; nanoseconds of its clock.

    File times come from a clock that ticks every few ms: this waits for the next tick.
    """
    file.write_text("0")
    first = last = file.stat().st_ctime_ns
    while last == first:
        time.sleep(0.001)
        file.write_text("0")
        last = file.stat().st_ctime_ns
    file.write_text(str(last))
    return last


def read_stamp(file: Path) -> int:
    """The stamp that `make_stamp` wrote; raises OSError, ValueError."""
    return int(file.read_text())


def write_tree_diff(
    tree: Path, layers: Merged, stamp: int, out: BinaryIO, staged: Staged | None = None
) -> str:  # fmt: skip
    """Write what differs in `tree` as an uncompressed layer tar; returns its diff id.

    Raises as `write_layer`.
    """
    with disk_full_told(Path(str(getattr(out, "name", "the layer's destination")))):
        root = os.open(tree, _DIRECTORY | os.O_CLOEXEC)
        try:
            found = _Comparison(root, stamp).run(layers)
            return _ChangesPacking(root, out, overlay=False, staged=staged).run_changes(found)
        finally:
            os.close(root)


@dataclass
class _Changes:
    """Of one directory: names to be written, and names that only the layers have."""

    written: set[bytes] = field(default_factory=set)
    removed: set[bytes] = field(default_factory=set)


class _Comparison:
    """A walk through tree and layers side by side."""

    def __init__(self, root: int, stamp: int) -> None:
        self._root = root
        self._stamp = stamp
        self._found: dict[bytes, _Changes] = {b".": _Changes()}

    def run(self, layers: Merged) -> dict[bytes, _Changes]:
        waiting: list[tuple[bytes, Merged | None]] = [(b".", layers)]
        while waiting:
            path, before = waiting.pop()
            waiting += self._directory(path, before)
        return self._found

    def _directory(self, path: bytes, before: Merged | None) -> list[tuple[bytes, Merged | None]]:
        descriptor = openat2(self._root, path, _DIRECTORY, resolve=_NO_FOLLOW)
        try:
            children = before.children() if before and before.directories else {}
            names = {os.fsencode(name) for name in os.listdir(descriptor)}  # noqa: PTH208
            changes = _Changes(removed={name for name in children if name not in names})
            below_here = []
            for name in names:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                child = children.get(name)
                if child is None or self._differs(descriptor, name, status, child):
                    changes.written.add(name)
                if stat.S_ISDIR(status.st_mode):
                    below_here.append((_join(path, name), child))
        finally:
            os.close(descriptor)
        if changes.written or changes.removed:
            self._note(path, changes)
        return below_here

    def _note(self, path: bytes, changes: _Changes) -> None:
        """With the directories above it: one that is missing in a layer gets other attributes."""
        entry = self._found.setdefault(path, _Changes())
        entry.written |= changes.written
        entry.removed |= changes.removed
        while path != b".":
            parent, _, name = path.rpartition(b"/")
            path = parent or b"."
            self._found.setdefault(path, _Changes()).written.add(name)

    def _differs(
        self, parent: int, name: bytes, status: os.stat_result, before: Merged
    ) -> bool:  # fmt: skip
        old = before.status
        if status.st_ctime_ns >= self._stamp or stat.S_IFMT(status.st_mode) != stat.S_IFMT(
            old.st_mode
        ):
            return True
        same = (
            status.st_mode == old.st_mode and status.st_uid == old.st_uid
            and status.st_gid == old.st_gid and status.st_rdev == old.st_rdev
            and (stat.S_ISDIR(old.st_mode) or status.st_size == old.st_size)
            and status.st_mtime_ns == old.st_mtime_ns
        )  # fmt: skip
        if not same:
            return True
        return dict(attributes_of(below(parent, name))) != dict(attributes_of(before.path))


def _join(path: bytes, name: bytes) -> bytes:
    return name if path == b"." else path + b"/" + name


class _ChangesPacking(Packing):
    """Writes only what has changed, and whiteouts for what is gone."""

    def run_changes(self, found: dict[bytes, _Changes]) -> str:
        self._found = found
        return self.run()

    def _directory(self, path: bytes) -> list[bytes]:
        changes = self._found.get(path)
        if changes is None:
            return []
        try:
            descriptor = openat2(self._root, path, _DIRECTORY, resolve=_NO_FOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return []
        prefix = b"" if path == b"." else path + b"/"
        inside = []
        try:
            for name in sorted(changes.written | changes.removed):
                entry = Entry(descriptor, name, prefix + name)
                if name in changes.removed:
                    self._header(whiteout(entry))
                elif self._named_entry(entry):
                    inside.append(entry.path)
        finally:
            os.close(descriptor)
        return inside
