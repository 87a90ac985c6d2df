"""Threads whose end is seen, whatever ends them: also that no memory is left.

CPython's own `Thread.start` waits until the new thread has begun, and one that finds no memory for
its first lines never says so (3.11, threading.py, `_bootstrap_inner`). Nor does an event tell that
a thread was to set, and did not live to.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from migrate.errors import OutOfMemory

START_LIMIT = 5
"""Looks, a second apart, for a thread that is to begin: a process that is stopped loses but one."""
LOOK_EVERY = 1.0  # seconds
SWITCH = 0.0005
"""Seconds for which a thread may keep others from going on while somebody waits (Python: 5 ms)."""
T = TypeVar("T")


class _Begun(threading.Event):
    """Set by a thread that has begun."""

    def wait(self, timeout: float | None = None) -> bool:
        """Raises RuntimeError, in CPython's own words, instead of waiting for ever."""
        if timeout is not None:
            return super().wait(timeout)
        if not self._look():
            raise RuntimeError("can't start new thread: it does not begin")
        return True

    def _look(self) -> bool:  # by this name `kernel.signals` knows that it may not be cut in two
        return any(super(_Begun, self).wait(LOOK_EVERY) for _ in range(START_LIMIT))


def bound_starts() -> None:
    """From now on no start of a thread of this process, also of a library's, waits for ever."""
    if threading.Thread.start is _start:
        return
    threading.Thread.start = _start  # type: ignore[method-assign, assignment]


_original = threading.Thread.start


def _start(thread: threading.Thread) -> None:
    thread._started = _Begun()  # type: ignore[attr-defined]
    _original(thread)


@contextlib.contextmanager
def quick_switches() -> Iterator[None]:
    """Within the block who has something to answer need not wait for who computes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Task(Generic[T]):
    """A function at work in a thread of its own."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        """Begin; raises RuntimeError where there is no room for a thread."""
        self._work = work
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except Exception as error:  # noqa: BLE001 -- raised again by `result`
            self._error = error
        finally:
            self._done.set()

    def result(self) -> T:
        """Wait for its end; raises what it raised, OutOfMemory where it could not even say that.

        Not by `join`, which hears no signal (`kernel.signals`).
        """
        while not self._done.wait(LOOK_EVERY):
            if not self._thread.is_alive():
                break
        if self._error is not None:
            raise self._error
        if not self._result:
            raise OutOfMemory(
                f"the thread '{self._thread.name}' has ended without a word",
                cause="most likely it could get no more memory",
            )
        return self._result[0]

    def join(self) -> None:
        """Wait for its end, and for no result."""
        self._thread.join()
