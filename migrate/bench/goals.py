"""What must hold of `migrate bench downtime`: the rows of `--must-hold`, and their limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.bench.loads.load import Load
from migrate.bench.loads.memory import Memory
from migrate.bench.loads.redis import Redis
from migrate.bench.loads.tree import Tree
from migrate.bench.rows import Row

FLAT_RATIO = 1.6
"""The gap of 4 GiB over that of 64 MiB, at most."""
SMALL, LARGE = Memory(64), Memory(4096)
FILL_RATIO = 1.5
"""The time until memory is complete, over its bytes by the rate of the link, at most."""
LEAST_RATE = 0.95
"""A writer that reaches less than this share of its rate does not count as that writer."""


@dataclass(frozen=True)
class Goal:
    """One load in one mode, and at most how much of what; None where nothing must hold."""

    load: Load
    mode: str
    gap: float | None = None
    """Seconds, the median."""
    sent_share: float | None = None
    """Bytes on the wire over memory."""


GOALS = (
    Goal(Memory(16, 0), "pre-copy", 0.060),
    Goal(SMALL, "pre-copy"),
    Goal(Memory(1024), "pre-copy", 0.100),
    Goal(Memory(1024), "post-copy", 0.150),
    Goal(Memory(1024, 10_000), "pre-copy", 0.150),
    Goal(LARGE, "pre-copy", 0.150),
    Goal(Memory(1024, 0, "text"), "pre-copy", None, 0.45),
    Goal(Redis(), "pre-copy", 0.200),
    Goal(Redis(spread=Redis().keys), "pre-copy"),  # where it hurts; nothing must hold but content
    Goal(Tree(), "pre-copy", 0.250),
    Goal(Tree(interpreted=True), "pre-copy"),  # likewise: each wakes and writes 50 pages
)


def loads_that_must_hold() -> list[Load]:
    """Each load once."""
    return list(dict.fromkeys(goal.load for goal in GOALS))


def modes_that_must_hold(available: Sequence[str]) -> list[str]:
    """The modes of all goals, those that there are."""
    return [mode for mode in dict.fromkeys(goal.mode for goal in GOALS) if mode in available]


def goal_of(row: Row) -> Goal | None:
    """What must hold of this row."""
    return next((g for g in GOALS if (g.load, g.mode) == (row.load, row.mode)), None)


def with_limits(row: Row) -> dict[str, Any]:
    """The row as plain values, with what must hold of its figures (results.Limit)."""
    goal = goal_of(row)
    limits = {"gap": goal.gap, "sent_share": goal.sent_share} if goal else {}
    told = {name: {"most": most} for name, most in limits.items() if most is not None}
    return row.as_json() | ({"must_hold": told} if told else {})


def missed(rows: Sequence[Row]) -> list[str]:
    """A sentence for everything that must hold and does not."""
    return [complaint for row in rows for complaint in _missed_by(row)] + list(_not_flat(rows))


def _missed_by(row: Row) -> Iterator[str]:
    what = f"{row.load.describe()}, {row.mode}"
    goal = goal_of(row)
    if goal and goal.gap and row.gap.median > goal.gap:
        yield f"{what}: a gap of {row.gap.median * 1000:.0f} ms, {goal.gap * 1000:.0f} must hold"
    if goal and goal.sent_share and row.sent_share > goal.sent_share:
        yield (
            f"{what}: {row.sent_share * 100:.0f} % of memory on the wire,"
            f" {goal.sent_share * 100:.0f} % must hold"
        )
    if isinstance(row.load, Memory) and row.rate and row.rate.median < LEAST_RATE * row.load.rate:
        yield f"{what}: it wrote {row.rate.median:.0f} pages/s only, which measures another load"
    if row.filled and row.link:
        least = row.memory_bytes / (row.link * 125_000)
        if row.filled.median > FILL_RATIO * least:
            yield (
                f"{what}: memory complete after {row.filled.median:.2f} s,"
                f" {FILL_RATIO} times {least:.2f} s must hold"
            )
    yield from (f"{what}: {error}" for error in row.errors)


def _not_flat(rows: Sequence[Row]) -> Iterator[str]:
    for mode in dict.fromkeys(row.mode for row in rows):
        gaps = {row.load: row.gap.median for row in rows if row.mode == mode}
        if mode != "stop-copy" and SMALL in gaps and LARGE in gaps:
            ratio = gaps[LARGE] / gaps[SMALL]
            if ratio > FLAT_RATIO:
                yield f"{mode}: 4 GiB take {ratio:.2f} times 64 MiB, {FLAT_RATIO} must hold"
