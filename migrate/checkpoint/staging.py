"""A private directory for a checkpoint on its way out or in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from migrate.images.rootdir import remove_tree
from migrate.runtime.paths import Paths

DIRECTORY = "staging"


@contextlib.contextmanager
def staging(paths: Paths) -> Iterator[Path]:
    """A new directory, 0700, below the state directory; it is removed in every case.

    What a killed command has left is removed by the next one: a directory that nobody locks.
    """
    home = paths.state / DIRECTORY
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(home)
    place = Path(tempfile.mkdtemp(dir=home))
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield place
    finally:
        _remove(place)
        os.close(descriptor)


def _sweep(home: Path) -> None:
    for place in home.iterdir():
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(place)
            finally:
                os.close(descriptor)


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        remove_tree(place)
