"""The container's files beside memory: upper layer, named volumes, log; written and put back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Container, Iterable
from pathlib import Path

import msgspec

from migrate.checkpoint import oldlogs
from migrate.checkpoint.errors import PlaceUnfit
from migrate.checkpoint.staged import StagedDirectory, Staging
from migrate.checkpoint.state import STATE_FILE, State
from migrate.images.apply import apply_layer
from migrate.images.diff import write_layer
from migrate.images.rootdir import remove_tree
from migrate.images.store import Store
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.storage import snapshot_of, volume_directory

DIFF_FILE = "diff.tar"
LOG_FILE = "log"
VOLUMES = "volumes"


def volume_names(record: Record) -> list[str]:
    """The named volumes of a container, each once."""
    return sorted({bind.source for bind in record.binds if bind.volume})


def portable(paths: Paths, record: Record) -> Record:
    """The record as another host can use it: a rootfs directory becomes a layer of the store.

    Raises what writing a layer raises, DiskFull among it.
    """
    if not record.rootfs:
        return record
    import tempfile

    with tempfile.TemporaryFile(dir=paths.state) as file:
        write_layer(Path(record.rootfs), file, overlay=False)
        file.seek(0)
        diff_id = Store(paths.images).add_layer(file)
    return msgspec.structs.replace(record, rootfs="", layers=(diff_id,))


def write_files(
    paths: Paths, state: State, directory: Path, staging: Staging | None = None, *,
    logs_ahead: Container[str] = (),
) -> list[str]:  # fmt: skip
    """Write description, upper, volumes and logs below `directory`; their relative names.

    Contents that `staging` knows travel by themselves: they are not in what is written. Nor are
    full log files whose keys (`oldlogs`) are among `logs_ahead`.
    """
    staged = staging.content if staging else None
    own = paths.container(state.record.identifier)
    names = [STATE_FILE, DIFF_FILE]
    (directory / STATE_FILE).write_bytes(state.encode())
    with (directory / DIFF_FILE).open("wb") as file:
        snapshot_of(paths, state.record).write_diff(file, staged)
    volumes = volume_names(state.record)
    if volumes:
        (directory / VOLUMES).mkdir(mode=0o700, exist_ok=True)
    for name in volumes:
        relative = f"{VOLUMES}/{name}.tar"
        with (directory / relative).open("wb") as file:
            write_layer(volume_directory(paths, name), file, overlay=False, staged=staged)
        names.append(relative)
    if own.log.exists():
        shutil.copyfile(own.log, directory / LOG_FILE)
        names.append(LOG_FILE)
    return names + oldlogs.write(own.log, directory, logs_ahead)


def put_files(
    paths: Paths, record: Record, directory: Path, staged: Path | None = None, *,
    movable: bool = False,
) -> None:  # fmt: skip
    """The way back of `write_files`, into empty places; the container's rootfs is not mounted.

    Whatever the storage driver: its next mount makes what it needs of the upper.

    `staged`: the directory of contents that were sent ahead; without it a tar that names such is
    refused. `movable`: what is below `directory` may be moved. Raises StagedFileBad, and what
    `apply_layer` raises.
    """
    own = paths.container(record.identifier)
    for place in (own.upper, own.work):
        with contextlib.suppress(FileNotFoundError):
            remove_tree(place)
    own.upper.mkdir(mode=0o700, parents=True)
    with contextlib.ExitStack() as stack:
        take = stack.enter_context(StagedDirectory(staged)).take if staged else None
        with (directory / DIFF_FILE).open("rb") as file:
            apply_layer(file, own.upper, staged=take)
        for name in volume_names(record):
            place = volume_directory(paths, name)
            clear(place)
            with (directory / VOLUMES / f"{name}.tar").open("rb") as file:
                apply_layer(file, place, staged=take)
    if (directory / LOG_FILE).exists():
        shutil.copyfile(directory / LOG_FILE, own.log)
        own.log.chmod(0o600)
    oldlogs.put(directory, own.log, take=movable)


def clear(directory: Path) -> None:
    """Empty a directory that stays."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()


def refuse_foreign_volumes(
    paths: Paths, record: Record, others: Iterable[Record], own: Container[str] = ()
) -> None:
    """Raise PlaceUnfit if a volume of that name has content or another user on this host.

    The volumes in `own` are known to be the container's, and may have content.
    """
    used = {name: other.name for other in others for name in volume_names(other)
            if other.identifier != record.identifier}  # fmt: skip
    for name in volume_names(record):
        place = paths.volumes / name
        if name in used:
            raise PlaceUnfit(
                f"the volume '{name}' is in use", cause=f"container '{used[name]}' mounts it",
                mend="rename one of the volumes",
            )  # fmt: skip
        if name not in own and place.is_dir() and any(place.iterdir()):
            raise PlaceUnfit(
                f"a volume '{name}' with content is there already",
                cause=f"{place} is not empty",
                mend="remove or rename that volume if nobody needs it",
            )


def remove_volumes(paths: Paths, record: Record) -> None:
    """Delete the container's volumes after it has moved away with their content."""
    for name in volume_names(record):
        with contextlib.suppress(FileNotFoundError):
            remove_tree(paths.volumes / name)
