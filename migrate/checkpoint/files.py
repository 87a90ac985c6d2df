"""The container's files beside memory: upper layer, named volumes, log; written and put back."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from migrate.checkpoint import oldlogs
from migrate.checkpoint.errors import PlaceUnfit, StagedFileBad
from migrate.checkpoint.staged import StagedDirectory, Staging
from migrate.checkpoint.state import STATE_FILE, State
from migrate.images.apply import apply_layer
from migrate.images.changes import update_tree, write_changes
from migrate.images.diff import write_layer
from migrate.images.rootdir import remove_tree
from migrate.images.store import Store
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.storage import snapshot_of, volume_directory

LOG_FILE = "log"
VOLUMES = "volumes"
AHEAD = "ahead"
"""The directory of trees that travel while the container runs, beneath that of all that travels."""
DIFF = "diff"
DIFF_FILE = f"{DIFF}.tar"


@dataclass(frozen=True)
class Tree:
    """Files that go with the container: `name`.tar is the whole of it, `name`.changes the rest."""

    name: str
    directory: Path
    overlay: bool  # an upper, with whiteouts

    @property
    def whole(self) -> str:
        """The name of the tar of all of it."""
        return f"{self.name}.tar"

    @property
    def changes(self) -> str:
        """The name of the tar of what has changed since the tree went ahead."""
        return f"{self.name}.changes"


def trees(paths: Paths, record: Record) -> list[Tree]:
    """The container's upper and its named volumes on this host."""
    upper = Tree(DIFF, paths.container(record.identifier).upper, overlay=True)
    volumes = [
        Tree(f"{VOLUMES}/{name}", volume_directory(paths, name), overlay=False)
        for name in volume_names(record)
    ]
    return [upper, *volumes]


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

    Contents that `staging` knows travel by themselves: they are not in what is written. Of trees
    that it knows only what has changed is. Nor are full log files whose keys (`oldlogs`) are among
    `logs_ahead`.
    """
    own = paths.container(state.record.identifier)
    names = [STATE_FILE]
    (directory / STATE_FILE).write_bytes(state.encode())
    if volume_names(state.record):
        (directory / VOLUMES).mkdir(mode=0o700, exist_ok=True)
    for tree in trees(paths, state.record):
        names.append(_write_tree(paths, state.record, tree, directory, staging))
    if own.log.exists():
        shutil.copyfile(own.log, directory / LOG_FILE)
        names.append(LOG_FILE)
    return names + oldlogs.write(own.log, directory, logs_ahead)


def _write_tree(
    paths: Paths, record: Record, tree: Tree, directory: Path, staging: Staging | None
) -> str:  # fmt: skip
    staged = staging.content if staging else None
    known = staging.known(tree.name) if staging else None
    name = tree.whole if known is None else tree.changes
    with (directory / name).open("wb") as file:
        if staging and known is not None:
            same = functools.partial(staging.unchanged, tree.name)
            write_changes(tree.directory, file, known, same, overlay=tree.overlay, staged=staged)
        elif tree.name == DIFF:
            snapshot_of(paths, record).write_diff(file, staged)
        else:
            write_layer(tree.directory, file, overlay=False, staged=staged)
    return name


def put_ahead(paths: Paths, record: Record, directory: Path) -> list[str]:
    """Unpack the whole trees in AHEAD below `directory` into their places, made empty.

    The tars are removed. Returns the trees' names; raises what `apply_layer` raises.
    """
    done = []
    for tree in trees(paths, record):
        archive = directory / AHEAD / tree.whole
        if not archive.exists():
            continue
        _make_empty(tree)
        try:
            with archive.open("rb") as file:
                apply_layer(file, tree.directory, need_end=True)
        finally:
            archive.unlink()
        done.append(tree.name)
    return done


def put_files(
    paths: Paths, record: Record, directory: Path, staged: Path | None = None, *,
    movable: bool = False, ahead: Collection[str] = (),
) -> None:  # fmt: skip
    """The way back of `write_files`; the container's rootfs is not mounted.

    Whatever the storage driver: its next mount makes what it needs of the upper. Places are made
    empty, but for the trees whose names are in `ahead`, which `put_ahead` has unpacked.

    `staged`: the directory of contents that were sent ahead; without it a tar that names such is
    refused. `movable`: what is below `directory` may be moved. Raises StagedFileBad, and what
    `apply_layer` raises.
    """
    own = paths.container(record.identifier)
    with contextlib.suppress(FileNotFoundError):
        remove_tree(own.work)
    with contextlib.ExitStack() as stack:
        take = stack.enter_context(StagedDirectory(staged)).take if staged else None
        for tree in trees(paths, record):
            if (directory / tree.changes).exists():
                if tree.name not in ahead:
                    raise StagedFileBad(f"there are changes of '{tree.name}', but not what of")
                with (directory / tree.changes).open("rb") as file:
                    update_tree(file, tree.directory, staged=take)
                continue
            _make_empty(tree)
            with (directory / tree.whole).open("rb") as file:
                apply_layer(file, tree.directory, staged=take)
    if (directory / LOG_FILE).exists():
        shutil.copyfile(directory / LOG_FILE, own.log)
        own.log.chmod(0o600)
    oldlogs.put(directory, own.log, take=movable)


def _make_empty(tree: Tree) -> None:
    if not tree.overlay:
        clear(tree.directory)
        return
    with contextlib.suppress(FileNotFoundError):
        remove_tree(tree.directory)
    tree.directory.mkdir(mode=0o700, parents=True)


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
