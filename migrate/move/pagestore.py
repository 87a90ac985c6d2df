"""Where a target keeps memory that has arrived and is not filled in yet: a tmpfs for each move.

A page's offset in its process's file is its address, which only a tmpfs's files are long enough
for; and what is in it is in memory, not on a disk.
"""

from __future__ import annotations

import array
import contextlib
import sys
from pathlib import Path

from migrate.checkpoint import eager
from migrate.criu.lazypages import awaited
from migrate.criu.lazypages.protocol import HIGHEST_ADDRESS, read_present
from migrate.criu.lazypages.spaces import Run
from migrate.move import memoryplace

DIRECTORY = "pages"
PRESENT = ".present"
"""Ending of the file beside a process's pages: which pages there are; uint64 pairs [start, end)."""
EAGER = eager.EAGER
"""Ending of the list, of the same form, of those that are there before the thaw."""
AWAITED = awaited.AWAITED
"""Ending of the list, of the same form, of those that follow after the thaw."""
FIFO = awaited.FIFO
"""Where pages are asked for."""
MOST_RUNS = 100_000  # told at a time


def make(root: Path) -> Path:
    """Mount the store beneath a move's directory for data; raises OSError."""
    return memoryplace.make(root / DIRECTORY)


def lacking(root: Path) -> dict[int, list[Run]]:
    """By pid, the awaited pages that have not arrived; at most MOST_RUNS runs.

    Raises StoreBad, OSError.
    """
    found: dict[int, list[Run]] = {}
    told = 0
    for listed in sorted((root / DIRECTORY).glob(f"*{AWAITED}")):
        with contextlib.suppress(FileNotFoundError), listed.open("rb") as file:
            runs = read_present(file.fileno(), HIGHEST_ADDRESS)
            left = _without(runs, _arrived(listed.with_suffix(awaited.ARRIVED)))
            left = left[: max(MOST_RUNS - told, 0)]
            told += len(left)
            if left:
                found[int(listed.stem)] = left
    return found


def _arrived(log: Path) -> list[tuple[int, int]]:
    """What has arrived, in ascending order, merged."""
    try:
        raw = log.read_bytes()
    except FileNotFoundError:
        return []
    numbers = array.array("Q", raw[: len(raw) // 16 * 16])
    if sys.byteorder == "big":
        numbers.byteswap()
    merged: list[tuple[int, int]] = []
    for start, end in sorted(zip(numbers[::2], numbers[1::2], strict=True)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _without(runs: list[Run], gone: list[tuple[int, int]]) -> list[Run]:
    """Both ascending."""
    left: list[Run] = []
    at = 0
    for run in runs:
        start = run.start
        while at < len(gone) and gone[at][1] <= start:
            at += 1
        seen = at
        while seen < len(gone) and gone[seen][0] < run.end:
            if start < gone[seen][0]:
                left.append(Run(start, gone[seen][0], start))
            start = max(start, gone[seen][1])
            seen += 1
        if start < run.end:
            left.append(Run(start, run.end, start))
    return left
