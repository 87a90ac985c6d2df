"""A container's files replaced by a checkpoint's, the old ones kept until all has gone well."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from migrate.images.rootdir import remove_tree
from migrate.kernel.files import fsync_directory, write_atomically
from migrate.runtime.paths import Paths

HAD = "had.json"
DISCARDED = "replaced-by-restore"


class Replacement:
    """`swap` puts new files in place by renaming, `put_back` the old ones, `settle` drops them.

    The new files stand in `staged`, a state directory of the same shape on the same file system.
    The old ones stand in the container's `before-restore`, with the list of what there was: while
    that directory exists, nobody starts the container, and after a crash `put_back` makes it what
    it was. A file is replaced in one step: the record, above all, is never gone.
    """

    def __init__(self, paths: Paths, staged: Paths, identifier: str, volumes: list[str]) -> None:
        own, new = paths.container(identifier), staged.container(identifier)
        self._own = own
        self._before = own.before_restore
        self._settled = False
        names = ("upper", "work", "log", "exit", "spec", "record")
        self._places: list[tuple[str, Path, Path]] = [
            (name, getattr(own, name), getattr(new, name)) for name in names
        ]
        self._places.append(("tree", own.tree.parent, new.tree.parent))
        self._places += [
            (f"volume-{name}", paths.volumes / name, staged.volumes / name) for name in volumes
        ]

    def swap(self) -> None:
        """New files in, old ones aside; raises OSError, then `put_back` undoes what was done."""
        self._own.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._before.mkdir(mode=0o700)
        had = [key for key, place, _new in self._places if place.exists()]
        write_atomically(self._before / HAD, json.dumps(had).encode())
        for key, place, new in self._places:
            if key in had:
                _set_aside(place, self._before / key)
            if new.exists():
                new.rename(place)
            else:
                place.unlink(missing_ok=True)
        fsync_directory(self._own.state)

    def put_back(self) -> None:
        """The way back of `swap`, however far it came, and of `settle`; safe to repeat."""
        if self._settled:
            (self._own.state / DISCARDED).rename(self._before)
            self._settled = False
        if not self._before.exists():
            return
        with contextlib.suppress(FileNotFoundError):  # nothing had begun
            had = json.loads((self._before / HAD).read_bytes())
            for key, place, _new in self._places:
                if key not in had:
                    _remove(place)
                elif (self._before / key).exists():
                    if place.is_dir():
                        _remove(place)
                    (self._before / key).rename(place)
        remove_tree(self._before)

    def settle(self) -> None:
        """From here on the new files are the container's; the old ones wait for `clear`."""
        discarded = self._own.state / DISCARDED
        if discarded.exists():
            remove_tree(discarded)
        self._before.rename(discarded)
        self._settled = True
        fsync_directory(self._own.state)

    def clear(self) -> None:
        """Remove what `settle` dropped."""
        discarded = self._own.state / DISCARDED
        if discarded.exists():
            remove_tree(discarded)


def _set_aside(place: Path, aside: Path) -> None:
    if place.is_dir():
        place.rename(aside)
    else:
        os.link(place, aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
