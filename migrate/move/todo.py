"""Which awaited pages are still to be sent: one list that two threads take from."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from migrate.criu.lazypages.protocol import HIGHEST_ADDRESS
from migrate.criu.lazypages.spaces import AddressSpace, Run
from migrate.transfer.errors import ProtocolError
from migrate.transfer.frames import PAGE
from migrate.transfer.pages import CHUNK, RUNS

if TYPE_CHECKING:
    import numpy

AROUND = 64 << 10
"""Bytes, aligned to as much, that are sent behind a page that was asked for."""
NEAR = 1 << 20
"""Bytes: if none of the last LAST requests was for a page as near, nothing is sent behind one: who
jumps about does not need it, and waits longer for the next page."""
LAST = 8

Owed = dict[int, "numpy.ndarray"]
"""By pid in the container: runs [start, end) in bytes, uint64 of the shape (n, 2), ascending."""


def encode(owed: dict[int, list[Run]]) -> list[tuple[int, bytes]]:
    """As it travels: for each pid the pairs as uint64, little endian."""
    import numpy as np

    return [
        (pid, np.array([run[:2] for run in runs], dtype="<u8").tobytes())
        for pid, runs in owed.items()
    ]


def decode(raw: Any) -> Owed:
    """What `encode` made; raises ProtocolError for anything that can't be."""
    import numpy as np

    owed: Owed = {}
    try:
        for pid, pairs in raw:
            runs = np.frombuffer(pairs, dtype="<u8").reshape(-1, 2).astype(np.uint64)
            flat = runs.reshape(-1)
            unordered = (flat[1:] < flat[:-1]).any() or (flat > HIGHEST_ADDRESS).any()
            if unordered or (flat % PAGE).any():
                raise ProtocolError("the target lacks pages that can't be")
            owed[int(pid)] = runs
    except (TypeError, ValueError) as error:
        raise ProtocolError("what the target lacks can't be read", cause=str(error)) from error
    return owed


class Todo:
    """Runs by pid; whoever takes some has to send them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spaces: dict[int, AddressSpace] = {}
        self._cursors: dict[int, int] = {}
        self._asked: deque[tuple[int, int]] = deque(maxlen=LAST)

    def replace(self, owed: Owed) -> None:
        """From now on this is to be sent, and nothing else."""
        spaces = {
            pid: AddressSpace([Run(start, end, start) for start, end in runs.tolist()])
            for pid, runs in owed.items()
        }
        with self._lock:
            self._spaces = spaces

    @property
    def remaining(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(space.remaining for space in self._spaces.values())

    def page(self, pid: int, address: int) -> int:
        """Take the page at `address`, whose beginning is returned; others may have taken it."""
        page = address - address % PAGE
        with self._lock:
            self._spaces.get(pid, AddressSpace()).cut(page, page + PAGE)
        return page

    def around(self, pid: int, address: int) -> numpy.ndarray:
        """Take what is left around the page at `address`, if one near by was asked for before."""
        low = address - address % AROUND
        taken: list[Run] = []
        with self._lock:
            if any(pid == asked and abs(address - at) < NEAR for asked, at in self._asked):
                taken = self._spaces.get(pid, AddressSpace()).cut(low, low + AROUND)
            self._asked.append((pid, address))
            self._cursors[pid] = low + AROUND
        return _array([(run.start, run.end) for run in taken])

    def parts(self, pid: int) -> Iterator[numpy.ndarray]:
        """Take all that is left of a process, in parts of at most CHUNK bytes and RUNS runs.

        It goes on behind the page that was asked for last.
        """
        while part := self._next(pid):
            yield _array(sorted(part))

    def these(self, pid: int, runs: numpy.ndarray, most: int) -> Iterator[numpy.ndarray]:
        """Take what is left of `runs`, which ascend, in parts of at most `most` bytes."""
        part: list[tuple[int, int]] = []
        size = 0
        for first, last in runs.tolist():
            for at in range(first, last, most):
                with self._lock:
                    space = self._spaces.get(pid, AddressSpace())
                    taken = space.cut(at, min(at + most, last))
                length = sum(run.end - run.start for run in taken)
                if part and size + length > most:
                    yield _array(part)
                    part, size = [], 0
                part += [(run.start, run.end) for run in taken]
                size += length
        if part:
            yield _array(part)

    def smallest(self, most: int) -> Iterator[tuple[int, numpy.ndarray]]:
        """Take (pid, runs) of at most `most` bytes, the shortest runs of all processes first.

        What a program touches at once is scattered, what it holds in bulk is not.
        """
        with self._lock:
            runs = sorted(
                (run.end - run.start, pid, run.start)
                for pid, space in self._spaces.items() for run in space.runs
            )  # fmt: skip
        for length, pid, start in runs:
            for at in range(start, start + length, most):
                with self._lock:
                    space = self._spaces.get(pid, AddressSpace())
                    taken = space.cut(at, min(at + most, start + length))
                if taken:
                    yield pid, _array([(run.start, run.end) for run in taken])

    def _next(self, pid: int) -> list[tuple[int, int]]:
        part: list[tuple[int, int]] = []
        size = 0
        with self._lock:
            space = self._spaces.get(pid, AddressSpace())
            cursor = self._cursors.get(pid, 0)
            while space.runs and size < CHUNK and len(part) < RUNS:
                run = space.next_piece(cursor, CHUNK - size)
                if run is None or run.start < cursor:
                    cursor = 0
                    run = space.next_piece(cursor, CHUNK - size)
                assert run is not None
                space.cut(run.start, run.end)
                part.append((run.start, run.end))
                size += run.end - run.start
                cursor = run.end
            self._cursors[pid] = cursor
        return part


def _array(runs: list[tuple[int, int]]) -> numpy.ndarray:
    import numpy as np

    return np.array(runs, dtype=np.uint64).reshape(-1, 2)
