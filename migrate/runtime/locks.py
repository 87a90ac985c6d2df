"""A container's lock: a file that the command which works on it holds by flock(2)."""

from __future__ import annotations

import fcntl
import os
import time

from migrate.kernel.bare import contextlib, json
from migrate.runtime.errors import ContainerBusy

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator

_PAUSE = 0.02  # seconds between two tries


@contextlib.contextmanager
def locked(path: str, purpose: str, wait: float = 5.0, owner: str = "") -> Iterator[None]:
    """Hold the lock at `path`; raises ContainerBusy, naming the holder, after `wait` seconds.

    `owner`: the container's directory. Where that is gone when the lock is given back, the lock's
    file goes, too.
    """
    deadline = time.monotonic() + wait
    descriptor = _lock(path, deadline)
    while not _is_at(descriptor, path):  # its last holder has removed the container
        os.close(descriptor)
        descriptor = _lock(path, deadline)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "purpose": purpose}).encode(), 0)
        yield
    finally:
        if owner and not os.path.exists(owner) and _is_at(descriptor, path):
            os.unlink(path)
        os.close(descriptor)


def _lock(path: str, deadline: float) -> int:
    descriptor = _opened(path)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_PAUSE)
                continue
            error = _busy(path, descriptor)
            os.close(descriptor)
            raise error from None
        return descriptor


def _opened(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _busy(path: str, descriptor: int) -> ContainerBusy:
    holder = "another command"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        entry = json.loads(os.pread(descriptor, 4096, 0))
        holder = f"'{entry['purpose']}' (pid {entry['pid']})"
    identifier = os.path.basename(path).removeprefix(".").removesuffix(".lock")
    return ContainerBusy(f"container {identifier} is busy", cause=f"{holder} works on it")
