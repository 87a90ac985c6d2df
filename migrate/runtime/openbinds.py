"""Sources of bind mounts where a user namespace's root reaches them, for the time of a restore.

CRIU mounts them as that root, who may be unable to search the host's directories, and takes their
id maps as they are: so each is mounted at a place of its own, with its maps, and taken off again.
Nothing that removes trees ever comes to that place.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from migrate.images.idmapped import attach
from migrate.kernel import mounts
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Bind, Record
from migrate.runtime.storage import bind_source, bind_tree


def show(paths: Paths, record: Record) -> None:
    """Mount them; nothing for a container in the host's user namespace.

    Raises RootfsBad, SnapshotFailed, OSError; then none is mounted.
    """
    own = paths.container(record.identifier)
    if not record.user_namespace:
        return
    own.binds.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        for bind in record.binds:
            tree = bind_tree(paths, record, bind)
            try:
                directory = bind_source(paths, bind).is_dir()
                _put(tree, place_of(own, record, bind), directory=directory)
            finally:
                os.close(tree)
    except BaseException:
        hide(own)
        raise


def _put(tree: int, place: Path, *, directory: bool) -> None:
    if directory:
        place.mkdir(mode=0o700, exist_ok=True)
    else:
        place.touch(mode=0o600)
    attach(tree, place)


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
