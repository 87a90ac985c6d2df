"""What there is to draw in results: downtime by memory, parts of a pause, a client's latency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from migrate.bench.errors import BenchImpossible
from migrate.bench.results import Result, printable

MOST_SAMPLES = 10_000
"""Of one row's latency; the pinger keeps fewer."""


class Range(msgspec.Struct, frozen=True):
    """A series as a result tells it, in seconds."""

    median: float
    min: float
    max: float


class LoadTold(msgspec.Struct, frozen=True):
    """What moved; `mib` of memory, `rate` of pages a second."""

    mib: float = 0.0
    name: str = ""
    kind: str = ""
    rate: float = 0.0
    spread: int = 0
    working: float = 0.0


class RowTold(msgspec.Struct, frozen=True):
    """A row of `bench downtime`, or of a peer in its place (`peer` is its name)."""

    gap: Range
    load: LoadTold
    mode: str = ""
    peer: str = ""
    what: str = ""
    phases: dict[str, float] = {}
    latency: list[tuple[float, float]] = []

    @property
    def who(self) -> str:
        """The mode, or the peer."""
        return printable(self.peer or self.mode)

    @property
    def line(self) -> str:
        """What the points of one line have in common: all but the memory."""
        pages = f", {self.load.rate:g} pages/s" if self.load.rate else ", idle"
        pages += f" in {self.load.working:g} MiB" if self.load.working else ""
        kind = f" {self.load.kind}" if self.load.kind not in ("", "random") else ""
        spread = " over all keys" if self.load.spread else ""
        what = f"{self.load.name}{spread}" if self.load.name not in ("", "memory") else ""
        return printable(f"{self.who}, {what}" if what else f"{self.who}{pages}{kind}")


@dataclass(frozen=True)
class Point:
    """The service gap at one size; seconds."""

    mib: float
    gap: Range


@dataclass(frozen=True)
class Line:
    """The points of one mode or peer, by ascending memory."""

    label: str
    is_peer: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Slice:
    """A part of a move: `begun` after the start of the first, seconds."""

    name: str
    begun: float
    seconds: float


@dataclass(frozen=True)
class Track:
    """A client's pings across a move: (when sent, seconds until the answer)."""

    label: str
    samples: tuple[tuple[float, float], ...]


def rows_of(result: Result) -> list[RowTold]:
    """Its rows that have a gap and a load; raises BenchImpossible for one that is malformed."""
    rows = result.told.get("rows")
    if not isinstance(rows, list):
        return []
    wanted = [row for row in rows if isinstance(row, dict) and row.keys() >= {"gap", "load"}]
    try:
        made = msgspec.convert(wanted, list[RowTold])
        if any(len(row.latency) > MOST_SAMPLES for row in made):
            raise ValueError(f"more than {MOST_SAMPLES} samples of latency")
    except ValueError as error:  # msgspec's are such, too
        raise BenchImpossible(
            f"{result.path} has rows that can't be drawn", cause=str(error),
            mend="take it out of the directory, or measure it anew",
        ) from error  # fmt: skip
    return made


def lines(rows: Sequence[RowTold]) -> list[Line]:
    """Downtime by memory; of two rows of the same load and mode, the later one counts."""
    found: dict[tuple[str, bool], dict[float, Range]] = {}
    for row in rows:
        if row.load.mib > 0:
            found.setdefault((row.line, bool(row.peer)), {})[row.load.mib] = row.gap
    return [
        Line(label, peer, tuple(Point(mib, points[mib]) for mib in sorted(points)))
        for (label, peer), points in found.items()
    ]


def pause(rows: Sequence[RowTold]) -> tuple[str, list[Slice]] | None:
    """The parts of a pause, one after the other, of the row with the most memory; and which it is.

    Of several rows with as much, the first; pre-copy before other modes.
    """
    there = [row for row in rows if row.phases]
    if not there:
        return None
    row = max(there, key=lambda row: (row.mode == "pre-copy", row.load.mib))
    return f"{printable(row.what)}, {row.who}", list(_one_after_the_other(row.phases))


def _one_after_the_other(phases: dict[str, float]) -> Iterator[Slice]:
    begun = 0.0
    for name, seconds in phases.items():
        yield Slice(printable(name), begun, seconds)
        begun += seconds


def tracks(rows: Sequence[RowTold]) -> list[Track]:
    """The latency of each row that has kept it."""
    return [
        Track(f"{printable(row.what)}, {row.who}", tuple(row.latency))
        for row in rows
        if row.latency
    ]
