"""The pause of one move, out of a file of `migrate move --trace` (Chrome's trace event format)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from migrate.bench.errors import BenchImpossible
from migrate.bench.report.readings import Slice
from migrate.bench.results import printable
from migrate.move.trace import PAUSE, SOURCE, TARGET

MOST_BYTES = 16 << 20
MARGIN = 0.2
"""Of the pause's length: what is shown before and behind it."""
_HOSTS = {SOURCE: "source", TARGET: "target"}


class _Event(msgspec.Struct, frozen=True):
    ph: str
    pid: int = 0
    tid: int = 0
    name: str = ""
    ts: float = 0.0  # microseconds, and so is `dur`
    dur: float = 0.0


class _Trace(msgspec.Struct, frozen=True):
    traceEvents: list[_Event]  # noqa: N815  the format's own name


def read(path: Path) -> list[Slice]:
    """What both hosts did in the pause and close to it, on one clock, from the freeze on.

    All of the move where it has no pause. Raises BenchImpossible when it is no trace of a move.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        trace = msgspec.json.decode(path.read_bytes(), type=_Trace)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchImpossible(
            f"{path} is no trace", cause=str(error), mend="write one by 'migrate move --trace FILE'"
        ) from error
    slices = [e for e in trace.traceEvents if e.ph == "X" and e.pid in _HOSTS and e.dur >= 0]
    if not slices:
        raise BenchImpossible(f"{path} tells of no move", mend="trace a move that succeeds")
    return _around_the_pause(slices)


def _around_the_pause(events: list[_Event]) -> list[Slice]:
    pause = [e for e in events if (e.pid, e.tid) == (SOURCE, PAUSE)] or events
    begun, ended = min(e.ts for e in pause), max(e.ts + e.dur for e in pause)
    margin = (ended - begun) * MARGIN
    shown = [
        (e, max(e.ts, begun - margin), min(e.ts + e.dur, ended + margin))
        for e in sorted(events, key=lambda e: e.ts)
    ]
    return [
        Slice(printable(f"{_HOSTS[e.pid]}: {e.name}"), (first - begun) / 1e6, (last - first) / 1e6)
        for e, first, last in shown
        if last > first
    ]
