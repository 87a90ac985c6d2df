"""Drivers that give each container a whole tree of its own: vfs a copy, btrfs a snapshot.

The container's directory holds `tree/root`, bound at the mount point, and `tree/stamp`
(`treediff`). An `upper` that is there when it is mounted is laid over it, and is gone then.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migrate.images import idmapped
from migrate.images.apply import is_whiteout
from migrate.images.diff import Staged, write_layer
from migrate.images.errors import SnapshotFailed, disk_full_told
from migrate.images.idmapped import IdMap
from migrate.images.merged import copy_attributes, copy_merged, copy_one, is_opaque, merged_root
from migrate.images.overlay import unmount_snapshot
from migrate.images.rootdir import remove_tree
from migrate.images.snapshots import ROOT, STAMP, TREE, UPPER
from migrate.images.treediff import make_stamp, read_stamp, write_tree_diff
from migrate.kernel import btrfs
from migrate.kernel.filesystems import BTRFS, magic
from migrate.kernel.mounts import MS_BIND, mount

_FRESH = "tree.new"


@dataclass(frozen=True)
class TreeSnapshot:
    """A tree of its own; `fill` makes `root` from the layers, topmost first."""

    lower: Sequence[Path]
    directory: Path
    mount_point: Path
    fill: Callable[[Path], None]

    @property
    def own(self) -> Path:
        """The whole tree."""
        return self.directory / TREE / ROOT

    def mount(self, ids: IdMap | None = None) -> None:
        """Make the tree if there is none yet, and bind it; raises SnapshotFailed, DiskFull."""
        try:
            self.prepare()
            upper = self.directory / UPPER
            if upper.exists():
                with disk_full_told(self.directory):
                    lay_over(os.fsencode(upper), os.fsencode(self.own))
                    remove_tree(upper)
            self.mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
            if ids is None:
                mount(str(self.own), self.mount_point, flags=MS_BIND)
                return
            tree = idmapped.mapped_tree(self.own, ids)
            try:
                idmapped.attach(tree, self.mount_point)
            finally:
                os.close(tree)
        except OSError as error:
            raise SnapshotFailed(
                f"the root file system can't be mounted on {self.mount_point}", cause=str(error)
            ) from error

    def prepare(self) -> None:
        """The tree of the layers alone, if there is none yet; raises OSError, DiskFull."""
        if not (self.directory / TREE / STAMP).exists():
            with disk_full_told(self.directory):
                self._make()

    def unmount(self, *, lazy: bool = False) -> None:
        """Unmount; harmless if it isn't mounted. `lazy` detaches what is in use."""
        unmount_snapshot(self.mount_point, lazy=lazy)

    def write_diff(self, out: BinaryIO, staged: Staged | None = None) -> str:
        """What differs from the layers as an OCI layer tar; returns its diff id."""
        if not (self.directory / TREE / STAMP).exists():
            return write_layer(self.directory / UPPER, out, overlay=True, staged=staged)
        try:
            stamp = read_stamp(self.directory / TREE / STAMP)
            layers = merged_root(tuple(self.lower))
        except (OSError, ValueError) as error:
            raise SnapshotFailed(
                "what the container wrote can't be told from its image", cause=str(error)
            ) from error
        return write_tree_diff(self.own, layers, stamp, out, staged)

    def _make(self) -> None:
        """All or nothing."""
        if not self.lower:
            raise SnapshotFailed("a root file system needs at least one layer")
        fresh = self.directory / _FRESH
        for leftover in (fresh, self.directory / TREE):
            if leftover.exists():
                remove_tree(leftover)
        fresh.mkdir(mode=0o700, parents=True)
        self.fill(fresh / ROOT)
        make_stamp(fresh / STAMP)
        fresh.rename(self.directory / TREE)


def lay_over(upper: bytes, tree: bytes) -> None:
    """Carry out in `tree` what the overlay layer `upper` says; its files are moved. Raises OSError.

    What it lays down gets a new change time: it differs from the layers below.
    """
    linked: dict[tuple[int, int], bytes] = {}
    waiting = [b""]
    directories = []
    while waiting:
        path = waiting.pop()
        source, target = upper + path, tree + path
        status = os.lstat(source)
        if is_opaque(source):
            for entry in list(os.scandir(target)):
                _remove(entry.path)
        directories.append((source, status, target))
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            place, its = target + b"/" + entry.name, entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(its.st_mode):
                _remove(place)
                if not is_whiteout(its):
                    _move(entry.path, its, place, linked)
                continue
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(place).st_mode):
                    os.unlink(place)  # noqa: PTH108  bytes
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)  # noqa: PTH102
            waiting.append(path + b"/" + entry.name)
    for source, status, target in directories:
        copy_attributes(source, status, target)


def _move(
    source: bytes, status: os.stat_result, place: bytes, linked: dict[tuple[int, int], bytes]
) -> None:
    try:
        os.rename(source, place)  # noqa: PTH104
    except OSError as error:
        if error.errno != errno.EXDEV:  # as between subvolumes
            raise
        copy_one(source, status, place, linked)
        return
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _remove(path: bytes) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        remove_tree(path)
    else:
        os.unlink(path)  # noqa: PTH108


class VfsDriver:
    """A copy for each container: works everywhere, and takes time and room."""

    name = "vfs"

    def works(self, directory: Path) -> bool:
        """Whether `directory` can be written."""
        try:
            Path(tempfile.mkdtemp(dir=directory, prefix=".vfs-")).rmdir()
        except OSError:
            return False
        return True

    def snapshot(
        self, lower: Sequence[Path], directory: Path, mount_point: Path, cache: Path | None = None
    ) -> TreeSnapshot:
        """A copy in `directory`; nothing is shared."""

        def fill(root: Path) -> None:
            root.mkdir()
            copy_merged(merged_root(tuple(lower)), os.fsencode(root))

        return TreeSnapshot(lower, directory, mount_point, fill)


class BtrfsDriver:
    """A writable snapshot of a subvolume that all containers of the same layers share."""

    name = "btrfs"

    def works(self, directory: Path) -> bool:
        """Make a subvolume in `directory` and remove it."""
        try:
            if magic(directory) != BTRFS:
                return False
            place = Path(tempfile.mkdtemp(dir=directory, prefix=".btrfs-"))
        except OSError:
            return False
        try:
            btrfs.create_subvolume(place / ROOT)
            btrfs.destroy_subvolume(place / ROOT)
        except OSError:
            return False
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return True

    def snapshot(
        self, lower: Sequence[Path], directory: Path, mount_point: Path, cache: Path | None = None
    ) -> TreeSnapshot:
        """A snapshot in `directory` of what is in `cache`, made there at the first use."""

        def fill(root: Path) -> None:
            if cache is None:
                _merged_subvolume(lower, root)
            else:
                btrfs.snapshot(shared_subvolume(lower, cache), root)

        return TreeSnapshot(lower, directory, mount_point, fill)


def shared_subvolume(lower: Sequence[Path], cache: Path) -> Path:
    """The subvolume of these layers, whole; several processes may ask at once. Raises OSError."""
    text = "\0".join(str(layer) for layer in lower)
    place = cache / hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    if (place / ROOT).exists():
        return place / ROOT
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=cache, prefix=".new-"))
    try:
        _merged_subvolume(lower, fresh / ROOT)
        fresh.rename(place)
    except OSError as error:
        remove_tree(fresh)
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # another was quicker
            raise
    return place / ROOT


def _merged_subvolume(lower: Sequence[Path], root: Path) -> None:
    btrfs.create_subvolume(root)
    copy_merged(merged_root(tuple(lower)), os.fsencode(root))


def forget_shared(cache: Path) -> None:
    """Remove what containers could share; those that were made of it keep their own."""
    for place in cache.iterdir() if cache.is_dir() else ():
        remove_tree(place)
