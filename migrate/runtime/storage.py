"""The container's rootfs and volumes on this host: made, mounted, unmounted, removed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from migrate.images.drivers import NAMES, checked, driver_named, first_working
from migrate.images.idmapped import mapped_tree
from migrate.images.overlay import OverlayDriver
from migrate.images.rootdir import remove_tree
from migrate.images.snapshots import Snapshot
from migrate.images.store import Store
from migrate.kernel import mounts
from migrate.kernel.files import write_atomically
from migrate.kernel.mountinfo import is_mount_point
from migrate.runtime import usernamespaces
from migrate.runtime.configuration import read_configuration
from migrate.runtime.errors import RootfsBad
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Bind, Record, check_name
from migrate.runtime.spec import Spec

VARIABLE = "MIGRATE_STORAGE_DRIVER"
SHARED = "shared-trees"
"""In the images' directory: what the btrfs driver makes once for all containers of an image."""


def driver_for(paths: Paths, wanted: str = "") -> str:
    """The storage driver of a container that is made here now, by name.

    `wanted`, else MIGRATE_STORAGE_DRIVER, else the configuration's, else the first that works in
    the state directory (looked for once a boot). Raises StorageDriverBad, ConfigurationBad.
    """
    chosen = wanted or os.environ.get(VARIABLE, "") or read_configuration().storage.driver
    if chosen:
        return checked(chosen, paths.state)
    found = paths.run / "storage-driver"
    mark = f"{paths.state} {paths.state.stat().st_dev}"
    with contextlib.suppress(OSError):
        place, _, name = found.read_text().rpartition(" ")
        if place == mark and name in NAMES:
            return name
    name = first_working(paths.state)
    with contextlib.suppress(OSError):
        write_atomically(found, f"{mark} {name}".encode(), durable=False)
    return name


def snapshot_of(paths: Paths, record: Record) -> Snapshot:
    """The container's root file system: its layers top first, or its rootfs directory, its own."""
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
    # A directory of the host can be changed between two containers; layers never are.
    cache = None if record.rootfs else paths.images / SHARED
    driver = driver_named(record.storage or OverlayDriver.name)
    return driver.snapshot(lower, own.state, own.rootfs, cache)


def mount_rootfs(paths: Paths, record: Record) -> None:
    """Mount the root file system at its place; nothing to do when it is mounted.

    With the ids of the container's user namespace, which must be there, if it has one.
    """
    own = paths.container(record.identifier)
    if not is_mount_point(own.rootfs):
        prepare_rootfs(paths, record)
        with usernamespaces.id_map(own, record) as ids:
            snapshot_of(paths, record).mount(ids)


def prepare_rootfs(paths: Paths, record: Record) -> None:
    """Do beforehand what takes long of `mount_rootfs`; raises OSError, RootfsBad, DiskFull."""
    if not has_upper(record):
        with Store(paths.images).hold():  # no prune of what containers share meanwhile
            snapshot_of(paths, record).prepare()


def has_upper(record: Record) -> bool:
    """Whether what the container writes lies apart from the layers on this host."""
    return (record.storage or OverlayDriver.name) == OverlayDriver.name


def own_files(paths: Paths, record: Record) -> Path:
    """The directory of what the container wrote; with some drivers it is its whole tree."""
    own = paths.container(record.identifier)
    return own.upper if has_upper(record) else own.tree


def unmount_rootfs(own: ContainerPaths) -> None:
    """Take it off; no error when it is not mounted."""
    while is_mount_point(own.rootfs):
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
    """The specification with each bind's source, and its ids, as they are on this host."""
    by_target = {bind.target: bind for bind in record.binds}
    filled = []
    for entry in spec.get("mounts", []):
        change: dict[str, object] = {}
        if bind := by_target.get(entry["destination"]):
            mapping = ["idmap"] if is_mapped(record, bind) else []
            change["source"] = str(bind_source(paths, bind))
            change["options"] = [*entry.get("options", []), *mapping]
        filled.append(entry | change)
    return spec | {"mounts": filled}


def bind_tree(paths: Paths, record: Record, bind: Bind) -> int:
    """What a bind shows, with its ids, mounted nowhere yet: a descriptor for `mounts.attach_tree`.

    Raises RootfsBad, SnapshotFailed, OSError.
    """
    source = bind_source(paths, bind)
    if is_mapped(record, bind):
        with usernamespaces.id_map(paths.container(record.identifier), record) as ids:
            assert ids
            return mapped_tree(source, ids)
    tree = mounts.open_tree(str(source), recursive=True)
    mounts.set_tree_propagation(tree, mounts.MS_PRIVATE)
    return tree


def is_mapped(record: Record, bind: Bind) -> bool:
    """Whether a bind is shown with the ids of the container's user namespace."""
    return bool(record.user_namespace) and (bind.volume or bind.mapped)


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
