"""Putting pages of the store into a process, and giving the store's memory back."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterable

from migrate.criu.lazypages.protocol import StoreBad
from migrate.criu.lazypages.spaces import Run
from migrate.criu.lazypages.tasks import Task
from migrate.kernel import userfault_fill as uf
from migrate.kernel.files import punch_hole
from migrate.kernel.userfault_fill import PAGE

CHUNK = 128 << 10
"""Bytes of one step in the background: a fault that comes meanwhile waits for its end.

Measured: 1 GiB takes 0.5 to 0.6 s from 128 KiB to 2 MiB, but the smaller, the fewer faults wait.
"""

AROUND = 64 << 10
"""Bytes, aligned to as much, that a fault brings along."""


class Filler:
    """One buffer, through which all pages go.

    The contents are read rather than mapped: a file that shrinks is then an error, not a SIGBUS,
    and the buffer stays in the processor's cache.
    """

    def __init__(self, needless: Callable[[Task, list[Run]], None]) -> None:
        """`needless(task, runs)` hears which contents a task has, or needs no more."""
        self._memory = mmap.mmap(-1, CHUNK)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._view = memoryview(self._memory)
        self.needless = needless
        self.copied = 0  # bytes

    def put(self, task: Task, run: Run) -> int:
        """Put `run`, at most CHUNK bytes, in place; 0, or the errno of the first page that failed.

        What was there already stays. Raises StoreBad, OSError.
        """
        length = run.end - run.start
        if os.preadv(task.content, [self._view[:length]], run.offset) != length:
            raise StoreBad(f"the contents of process {task.pid} end before {run.offset:#x}")
        at = run.start
        error = 0
        while at < run.end:
            done, error = uf.copy(task.uffd, at, self._address + at - run.start, run.end - at)
            at += done
            self.copied += done
            if error == errno.EEXIST:
                at += PAGE
            elif error and not done:
                break
        self.needless(task, task.space.cut(run.start, at))
        return error if at < run.end else 0

    def answer(self, task: Task, address: int) -> tuple[int, bool]:
        """Resolve a fault: the errno that is to be decided by, and whether it was a zero page."""
        page = task.space.piece(address, 0, PAGE)
        error = self.put(task, page) if page else uf.zero(task.uffd, address, PAGE).error
        if error in {0, errno.EEXIST, errno.ENOENT}:
            # Somebody may have been faster, who need not have woken this one; or the region is
            # gone, or just moving: who waits finds out by trying again.
            uf.wake(task.uffd, address, PAGE)
            error = 0
        return error, page is None

    def around(self, task: Task, address: int, here: Callable[[int, int, int], int]) -> None:
        """Bring along what stands around a page that was asked for; stops at the first obstacle.

        `here(pid, offset, length)`: how many of these bytes are in the store.
        """
        low = address - address % AROUND
        for start, end in ((address + PAGE, low + AROUND), (low, address)):
            at = start
            while at < end and (run := task.space.next_piece(at, end - at)):
                if run.start < at or run.start >= end:
                    break
                at = min(run.end, end)
                there = here(task.pid, run.offset, at - run.start)
                if there and self.put(task, run._replace(end=run.start + there)):
                    return


def still_needed(sharing: Iterable[Task]) -> list[Run]:
    """The contents that any of these tasks needs, by offset; `start` and `end` are offsets, too."""
    spans = sorted((r.offset, r.offset + r.end - r.start) for t in sharing for r in t.space.runs)
    found: list[Run] = []
    for start, end in spans:
        if found and start <= found[-1].end:
            found[-1] = found[-1]._replace(end=max(end, found[-1].end))
        else:
            found.append(Run(start, end, start))
    return found


def give_back(content: int, runs: Iterable[Run]) -> None:
    """Free the memory of these contents."""
    for run in runs:
        punch_hole(content, run.offset, run.end - run.start)


def give_back_others(content: int, needed: Iterable[Run]) -> None:
    """Free all but what is still needed, which is sorted by offset."""
    reached = 0
    size = os.fstat(content).st_size
    for run in [*needed, Run(size, size, size)]:
        if run.offset > reached:
            punch_hole(content, reached, run.offset - reached)
        reached = run.offset + run.end - run.start
