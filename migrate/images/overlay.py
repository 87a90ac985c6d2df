"""The driver overlay: layers and an upper directory joined by the kernel's union mount."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migrate.images import idmapped
from migrate.images.diff import Staged, write_layer
from migrate.images.errors import SnapshotFailed
from migrate.images.idmapped import IdMap
from migrate.images.snapshots import UPPER, WORK
from migrate.kernel.mounts import MNT_DETACH, UMOUNT_NOFOLLOW, mount, unmount

# An upper must mean the same on another host: nothing in it may point at inodes or names of the
# lower directories (Documentation/filesystems/overlayfs.rst).
PORTABLE = "index=off,metacopy=off,redirect_dir=off"
OPTIONS_LIMIT = 4000  # mount(2) takes a page of options
LOWER_LIMIT = 220  # of /proc/self/fd/NNN paths in that page
_PLAIN = re.compile(r"[A-Za-z0-9_./@+=~-]+")


@dataclass(frozen=True)
class OverlaySnapshot:
    """An overlay mount; `lower` has the topmost layer first. upper and work share a file system."""

    lower: Sequence[Path]
    upper: Path
    work: Path
    mount_point: Path

    @property
    def own(self) -> Path:
        """The upper."""
        return self.upper

    def prepare(self) -> None:
        """Nothing takes long here."""

    def mount(self, ids: IdMap | None = None) -> None:
        """Make the directories that are missing, and mount; raises SnapshotFailed.

        A new upper takes mode and owner of the topmost layer's root: overlay shows the upper's.
        """
        if not self.lower:
            raise SnapshotFailed("a root file system needs at least one layer")
        try:
            self._prepare()
            if ids:
                self._mount_mapped(ids)
                return
            with self._options() as options:
                mount("overlay", self.mount_point, "overlay", 0, options)
        except OSError as error:
            raise SnapshotFailed(
                f"the root file system can't be mounted on {self.mount_point}", cause=str(error)
            ) from error

    def unmount(self, *, lazy: bool = False) -> None:
        """Unmount; harmless if it isn't mounted. `lazy` detaches what is in use."""
        unmount_snapshot(self.mount_point, lazy=lazy)

    def write_diff(self, out: BinaryIO, staged: Staged | None = None) -> str:
        """The upper as an OCI layer tar; returns its diff id."""
        return write_layer(self.upper, out, overlay=True, staged=staged)

    def _prepare(self) -> None:
        for directory in (self.mount_point, self.work):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.upper.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(self.upper.iterdir()):
            # Others than root live in the container and must be able to enter its root.
            status = self.lower[0].stat()
            os.chown(self.upper, status.st_uid, status.st_gid)
            self.upper.chmod(stat.S_IMODE(status.st_mode))

    def _mount_mapped(self, ids: IdMap) -> None:
        if len(self.lower) > LOWER_LIMIT:
            raise _too_many(self.lower)
        tree = idmapped.overlay_tree(
            self.lower, self.upper.parent, (self.upper.name, self.work.name), PORTABLE, ids,
            self.mount_point,
        )  # fmt: skip
        try:
            idmapped.attach(tree, self.mount_point)
        finally:
            os.close(tree)

    @contextlib.contextmanager
    def _options(self) -> Iterator[str]:
        """The option string; by descriptors where paths are too long or hold overlay's own signs.

        overlay resolves the paths while mounting, so that the descriptors may close afterwards.
        """
        paths = [str(path) for path in (self.upper, self.work, *self.lower)]
        options = _join(paths)
        if len(os.fsencode(options)) <= OPTIONS_LIMIT and all(map(_PLAIN.fullmatch, paths)):
            yield options
            return
        if len(paths) > LOWER_LIMIT:
            raise _too_many(self.lower)
        with contextlib.ExitStack() as stack:
            short = []
            for path in paths:
                descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                short.append(f"/proc/self/fd/{descriptor}")
            yield _join(short)


def unmount_snapshot(mount_point: Path, *, lazy: bool = False) -> None:
    """Unmount; harmless if it isn't mounted. Raises SnapshotFailed."""
    try:
        unmount(mount_point, UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return
        raise SnapshotFailed(
            f"the root file system can't be unmounted from {mount_point}",
            cause=str(error),
            mend="stop what still uses it (fuser -vm names it), and repeat",
        ) from error


def _too_many(lower: Sequence[Path]) -> SnapshotFailed:
    return SnapshotFailed(
        f"{len(lower)} layers are too many for one root file system",
        mend="squash the image's layers",
    )


def _join(paths: list[str]) -> str:
    upper, work, *lower = paths
    return f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work},{PORTABLE}"


class OverlayDriver:
    """The snapshot driver for overlay."""

    name = "overlay"

    def works(self, directory: Path) -> bool:
        """Mount a tiny overlay in `directory` and look through it."""
        place = Path(tempfile.mkdtemp(dir=directory, prefix=".overlay-"))
        try:
            layer = place / "layer"
            layer.mkdir()
            (layer / "seen").touch()
            trial = self.snapshot((layer,), place / "trial", place / "seen-here")
            trial.mount()
            try:
                return (trial.mount_point / "seen").exists()
            finally:
                trial.unmount()
        except SnapshotFailed:
            return False
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def snapshot(
        self, lower: Sequence[Path], directory: Path, mount_point: Path, cache: Path | None = None
    ) -> OverlaySnapshot:
        """An overlay with `upper` and `work` in `directory`; layers are shared anyway."""
        return OverlaySnapshot(lower, directory / UPPER, directory / WORK, mount_point)
