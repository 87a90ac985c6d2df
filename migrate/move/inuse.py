"""Which pages a container will touch first when it goes on: those that it has written last.

Who reads a page is told by no kernel; but what a program works with it mostly writes, too (in
Python even what it only reads: reference counts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrate.kernel.pagemap import page_numbers, page_runs

if TYPE_CHECKING:
    import numpy

Pages = dict[int, "numpy.ndarray"]
"""By pid in the container: runs [start, end) in bytes, uint64 of the shape (n, 2), ascending."""


@dataclass(frozen=True, eq=False)
class InUse:
    """What was written in the last two spans of time in which anybody looked."""

    last: Pages
    before: Pages

    def ordered(self) -> Iterator[tuple[int, numpy.ndarray]]:
        """(pid, runs): of all processes what was written in both spans, then what in the last."""
        others = []
        for pid, runs in self.last.items():
            again, once = _split(runs, self.before.get(pid, runs[:0]))
            others.append((pid, once))
            yield pid, again
        yield from others


def _split(runs: numpy.ndarray, others: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The pages of `runs` that are in `others`, and those that are not."""
    import numpy as np

    if not len(others):
        return runs[:0], runs
    pages = page_numbers(runs)
    both = np.isin(pages, page_numbers(others), assume_unique=True)
    return page_runs(pages[both]), page_runs(pages[~both])
