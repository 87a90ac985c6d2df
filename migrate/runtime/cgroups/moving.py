"""The waits for the kernel on the short way to a container, begun early and beside other work."""

from __future__ import annotations

import _thread
import os

from migrate.kernel.bare import contextlib
from migrate.runtime.cgroups import tree

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL = 0.004  # seconds: less than a grace period


class Preparing:
    """What the first move of a process into a group waits for, from now on until `end`.

    The kernel's lock on moves needs a grace period of RCU, 10 to 60 ms, unless another move was
    just before (Linux, kernel/cgroup/cgroup.c, cgroup_threadgroup_rwsem). To "move" ourselves to
    where we are takes that lock, and changes nothing. It is done by a thread, again and again: end
    it before a fork, which would wait for the same.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self.trees = tree.detect()
        self._ends, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._ends.acquire()
        homes = self.trees.homes()
        self._over = not homes
        if not homes:
            return
        self._ended.acquire()
        flags = os.O_WRONLY | os.O_CLOEXEC
        self._descriptor = os.open(f"{homes[0]}/cgroup.procs", flags)
        _thread.start_new_thread(self._move, ())

    def _move(self) -> None:
        """With hardly a line of Python: who starts the container needs the interpreter."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"0")
            while not self._ends.acquire(timeout=_INTERVAL):
                os.write(self._descriptor, b"0")
        os.close(self._descriptor)
        self._ended.release()

    def end(self) -> None:
        """What is waited for is over, or not wanted any more."""
        if not self._over:
            self._over = True
            self._ends.release()
            self._ended.acquire()


def meanwhile(act: Callable[[], None]) -> Callable[[], object]:
    """Begin `act`, which waits for the kernel, in a thread; call the result to wait for its end."""
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            act()
        finally:
            ended.release()

    _thread.start_new_thread(run, ())
    return ended.acquire
