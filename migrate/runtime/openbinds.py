"""What a user namespace is restored with from outside: sources of bind mounts, devices, a mask.

CRIU mounts them as the namespace's root, takes their id maps as they are, and sets the flags that
they had at the dump: of a mount of the host's, the namespace may take none away
(mount_namespaces(7)). So each is mounted at a place of its own for the time of the restore, with
its maps and without flags. Nothing that removes trees ever comes to that place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from migrate.images.idmapped import attach
from migrate.kernel import mounts
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Bind, Record
from migrate.runtime.rootfs import DEVICES
from migrate.runtime.storage import bind_tree

MASK = "mask"
"""An empty directory."""
_FLAGS = mounts.ATTR_RDONLY | mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


def show(paths: Paths, record: Record) -> None:
    """Mount them; nothing for a container in the host's user namespace.

    Raises RootfsBad, SnapshotFailed, OSError; then none is mounted.
    """
    own = paths.container(record.identifier)
    if not record.user_namespace:
        return
    own.binds.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        (own.binds / MASK).mkdir(exist_ok=True)
        mounts.mount("tmpfs", own.binds / MASK, "tmpfs", 0, "size=4k,mode=755")
        for name, tree in _trees(paths, record):
            try:
                _put(tree, own.binds / name)
            finally:
                os.close(tree)
    except BaseException:
        hide(own)
        raise


def _trees(paths: Paths, record: Record) -> Iterator[tuple[str, int]]:
    for index, bind in enumerate(record.binds):
        yield str(index), bind_tree(paths, record, bind)
    for name, _major, _minor in DEVICES:
        yield name, mounts.open_tree(f"/dev/{name}", recursive=False)


def _put(tree: int, place: Path) -> None:
    mounts.set_tree_propagation(tree, mounts.MS_PRIVATE)
    mounts.set_tree_attributes(tree, 0, _FLAGS | mounts.ATTR_ATIME)
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        place.mkdir(mode=0o700, exist_ok=True)
    else:
        place.touch(mode=0o600)
    attach(tree, place)


def places(own: ContainerPaths, record: Record) -> list[Path]:
    """All that `show` mounts."""
    names = [MASK, *(name for name, _, _ in DEVICES), *map(str, range(len(record.binds)))]
    return [own.binds / name for name in names]


def place_of(own: ContainerPaths, record: Record, bind: Bind) -> Path:
    """Where `show` mounts one of the record's."""
    return own.binds / str(record.binds.index(bind))


def hide(own: ContainerPaths) -> None:
    """Take them all off; no error where there are none. Raises OSError for what is stuck."""
    if not own.binds.is_dir():
        return
    for place in own.binds.iterdir():
        with contextlib.suppress(OSError):
            while True:
                mounts.unmount(place, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()
    own.binds.rmdir()
