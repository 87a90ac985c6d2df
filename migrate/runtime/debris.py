"""What a command leaves that is killed before a container's record is there, or after it has gone.

Nothing runs of it: a directory with a half-written record, a lock that nobody holds. The same is
the directory of a container of `--rm` whose record a crash of the host has emptied.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from migrate.images.rootdir import remove_tree
from migrate.images.store import Store
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import NAME_PATTERN


def clear_debris(paths: Paths) -> None:
    """Remove it, where no command is at work on it; never a container, nor what a move brings."""
    found = {path.name for path in (paths.state / "containers").glob("*")}
    locks = (paths.run / "containers").glob(".*.lock")
    found.update(path.name.removeprefix(".").removesuffix(".lock") for path in locks)
    for identifier in found - {"registration"}:
        own = paths.container(identifier)
        if NAME_PATTERN.fullmatch(identifier) and _is_debris(own):
            with _left_alone(own) as alone:
                if alone and _is_debris(own):
                    _remove(own)


def _is_debris(own: ContainerPaths) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return is_blank(own.record.read_bytes())
    with contextlib.suppress(FileNotFoundError):
        return all(path.name.startswith(".record.json.") for path in own.state.iterdir())
    return True


def is_blank(record: bytes) -> bool:
    """Whether nothing of it had reached the disk when the host went down."""
    return not record.strip(b"\0")


@contextlib.contextmanager
def _left_alone(own: ContainerPaths) -> Iterator[bool]:
    """Whether nobody holds the container's lock; it is held meanwhile."""
    own.lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(own.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = os.path.samestat(os.fstat(descriptor), own.lock.stat())
    except (BlockingIOError, FileNotFoundError):
        alone = False
    try:
        yield alone
    finally:
        os.close(descriptor)


def _remove(own: ContainerPaths) -> None:
    Store(own.paths.images).unpin(own.identifier)
    with contextlib.suppress(FileNotFoundError):
        remove_tree(own.state)
    own.lock.unlink(missing_ok=True)
