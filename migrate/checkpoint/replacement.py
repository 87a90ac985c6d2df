"""A container's files replaced by a checkpoint's, the old ones kept until all has gone well."""

from __future__ import annotations

from pathlib import Path

from migrate.images.rootdir import remove_tree
from migrate.kernel.files import fsync_directory
from migrate.runtime.paths import Paths

BEFORE = "before-restore"


class Replacement:
    """`swap` puts new files in place by renaming, `put_back` the old ones, `settle` drops them.

    The new files stand in `staged`, a state directory of the same shape on the same file system.
    """

    def __init__(self, paths: Paths, staged: Paths, identifier: str, volumes: list[str]) -> None:
        own, new = paths.container(identifier), staged.container(identifier)
        self._own = own
        self._before = own.state / BEFORE
        self._reached: list[str] = []
        names = ("upper", "work", "log", "exit", "spec", "record")
        self._places: list[tuple[str, Path, Path]] = [
            (name, getattr(own, name), getattr(new, name)) for name in names
        ]
        self._places += [
            (f"volume-{name}", paths.volumes / name, staged.volumes / name) for name in volumes
        ]

    def recover(self) -> None:
        """What a restore that was killed has set aside: put back where nothing is, else dropped."""
        for key, place, _new in self._places:
            if (self._before / key).exists() and not place.exists() and key != "exit":
                (self._before / key).rename(place)
        self.settle()

    def swap(self) -> None:
        """New files in, old ones aside; raises OSError, then `put_back` undoes what was done."""
        self._own.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._before.mkdir(mode=0o700)
        for key, place, new in self._places:
            self._reached.append(key)
            if place.exists():
                place.rename(self._before / key)
            if new.exists():
                new.rename(place)
        fsync_directory(self._own.state)

    def put_back(self) -> None:
        """The way back of `swap`, however far it came."""
        for key, place, _new in self._places:
            if key in self._reached:
                _remove(place)
                if (self._before / key).exists():
                    (self._before / key).rename(place)
        self._reached.clear()
        self.settle()

    def settle(self) -> None:
        """Drop what was set aside."""
        if self._before.exists():
            remove_tree(self._before)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
