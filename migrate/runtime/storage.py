"""The container's rootfs and volumes on this host: made, mounted, unmounted, removed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from migrate.images.overlay import OverlaySnapshot
from migrate.images.rootdir import remove_tree
from migrate.images.store import Store
from migrate.kernel import mounts
from migrate.runtime.errors import RootfsBad
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Bind, Record, check_name
from migrate.runtime.spec import Spec


def snapshot_of(paths: Paths, record: Record) -> OverlaySnapshot:
    """The overlay of the container: its layers top first, or its rootfs directory, its upper."""
    own = paths.container(record.identifier)
    if record.rootfs:
        lower: tuple[Path, ...] = (Path(record.rootfs),)
    else:
        store = Store(paths.images)
        lower = tuple(store.layer_directory(diff_id) for diff_id in reversed(record.layers))
    if not lower or not all(path.is_dir() for path in lower):
        raise RootfsBad(
            f"the root file system of '{record.name}' is not whole",
            cause="a layer or the rootfs directory is missing",
            mend="import the image again with 'migrate image import'",
        )
    return OverlaySnapshot(lower, own.upper, own.work, own.rootfs)


def mount_rootfs(paths: Paths, record: Record) -> None:
    """Mount the overlay at its place; nothing to do when it is mounted."""
    own = paths.container(record.identifier)
    for directory in (own.upper, own.work, own.rootfs):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if own.rootfs.is_mount():
        return
    snapshot = snapshot_of(paths, record)
    if not any(own.upper.iterdir()):
        # Others than root live in the container and must be able to enter its root.
        top = snapshot.lower[0].stat()
        os.chown(own.upper, top.st_uid, top.st_gid)
        own.upper.chmod(top.st_mode & 0o7777)
    snapshot.mount()


def unmount_rootfs(own: ContainerPaths) -> None:
    """Take the overlay off; no error when it is not mounted."""
    while own.rootfs.is_mount():
        mounts.unmount(own.rootfs, mounts.MNT_DETACH)


def volume_directory(paths: Paths, name: str) -> Path:
    """The directory of a named volume, made when it is new."""
    check_name(name)
    directory = paths.volumes / name
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    return directory


def bind_source(paths: Paths, bind: Bind) -> Path:
    """What a bind mounts on this host; raises RootfsBad when a host path is missing."""
    if bind.volume:
        return volume_directory(paths, bind.source)
    source = Path(bind.source)
    if not source.exists():
        raise RootfsBad(
            f"can't mount {source} at {bind.target}",
            cause="there is no such path on this host",
            mend="make it, or use a named volume (-v NAME:/path), which goes with the container",
        )
    return source


def with_sources(paths: Paths, record: Record, spec: Spec) -> Spec:
    """The specification with each bind's source as it is on this host."""
    by_target = {bind.target: bind for bind in record.binds}
    filled = []
    for entry in spec.get("mounts", []):
        bind = by_target.get(entry["destination"])
        filled.append(entry | {"source": str(bind_source(paths, bind))} if bind else entry)
    return spec | {"mounts": filled}


def remove_storage(own: ContainerPaths) -> None:
    """Unmount and delete everything that the container has on this host, volumes apart."""
    unmount_rootfs(own)
    Store(own.paths.images).unpin(own.identifier)
    with contextlib.suppress(FileNotFoundError):
        remove_tree(own.run)
    with contextlib.suppress(FileNotFoundError):
        for path in own.state.iterdir():  # the record last: as long as it is there, `rm` finds it
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            elif path != own.record:
                path.unlink()
        own.record.unlink(missing_ok=True)
        own.state.rmdir()
    own.lock.unlink(missing_ok=True)
