"""What of a process's memory is still to be filled, and from where: a pure model.

Positions are addresses of the process as it is now; the content's place is the address that it had
at the dump (the offset in the content file). Both in bytes, page aligned.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple


class Run(NamedTuple):
    """`start` to `end` (exclusive) is still to be filled, from `offset` of the content file on."""

    start: int
    end: int
    offset: int


class AddressSpace:
    """The runs of one process, sorted, without overlaps."""

    def __init__(self, runs: list[Run] | None = None) -> None:
        """Takes the list over; the runs have to be sorted and apart from each other."""
        self.runs = runs if runs is not None else []
        self.remaining = sum(run.end - run.start for run in self.runs)
        self._moved = any(run.offset != run.start for run in self.runs)

    def copy(self) -> AddressSpace:
        """A child's state after a fork: what is missing in the parent is missing in the child."""
        return AddressSpace(list(self.runs))

    def find(self, address: int) -> Run | None:
        """The run that holds `address`."""
        index = self._after(address) - 1
        if index >= 0 and address < self.runs[index].end:
            return self.runs[index]
        return None

    def piece(self, address: int, below: int, above: int) -> Run | None:
        """The run that holds `address`, cut to `below` bytes before it and `above` behind."""
        run = self.find(address)
        if run is None:
            return None
        start, end = max(run.start, address - below), min(run.end, address + above)
        return Run(start, end, run.offset + start - run.start)

    def next_piece(self, cursor: int, limit: int) -> Run | None:
        """At most `limit` bytes at `cursor` or the next that are missing above it; else the last.

        The last, since a list gives its end away for nothing.
        """
        if not self.runs:
            return None
        index = self._after(cursor)
        if index and cursor < self.runs[index - 1].end:
            run = self.runs[index - 1]
            start = cursor
        elif index < len(self.runs):
            run = self.runs[index]
            start = run.start
        else:
            run = self.runs[-1]
            start = max(run.start, run.end - limit)
        return Run(start, min(run.end, start + limit), run.offset + start - run.start)

    def of_contents(self, start: int, end: int) -> list[Run]:
        """What is missing of the contents at the offsets `start` to `end`, wherever it is now."""
        if not self._moved:
            first = max(self._after(start) - 1, 0)
            runs = self.runs[first : bisect_left(self.runs, (end,))]
        else:
            runs = self.runs
        found = []
        for run in runs:
            low = max(start, run.offset)
            high = min(end, run.offset + run.end - run.start)
            if low < high:
                shift = run.start - run.offset
                found.append(Run(low + shift, high + shift, low))
        return found

    def cut(self, start: int, end: int) -> list[Run]:
        """The range is no longer missing: filled, unmapped, or emptied. What was missing of it."""
        if start >= end:
            return []
        first = self._after(start) - 1
        if first < 0 or self.runs[first].end <= start:
            first += 1
        last = bisect_left(self.runs, (end,))
        if first >= last:
            return []
        kept, gone = [], []
        for run in self.runs[first:last]:
            low, high = max(run.start, start), min(run.end, end)
            gone.append(Run(low, high, run.offset + low - run.start))
            if run.start < low:
                kept.append(Run(run.start, low, run.offset))
            if high < run.end:
                kept.append(Run(high, run.end, run.offset + high - run.start))
        self.runs[first:last] = kept
        self.remaining -= sum(run.end - run.start for run in gone)
        return gone

    def move(self, source: int, destination: int, length: int) -> list[Run]:
        """mremap(2): the contents go along. What was missing at the destination, and is gone."""
        moved = self.cut(source, source + length)
        gone = self.cut(destination, destination + length)
        shift = destination - source
        index = bisect_left(self.runs, (destination,))
        self._moved = self._moved or bool(moved)
        self.runs[index:index] = [Run(r.start + shift, r.end + shift, r.offset) for r in moved]
        self.remaining += sum(run.end - run.start for run in moved)
        return gone

    def _after(self, address: int) -> int:
        """The index of the first run that begins above `address`."""
        return bisect_left(self.runs, (address + 1,))
