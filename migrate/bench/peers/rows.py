"""A row of `migrate bench peers`: one side, one size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migrate.bench.loads.memory import Memory
from migrate.bench.series import Series


@dataclass(frozen=True)
class Once:
    """One move; seconds, and bytes that left the source by its link."""

    gap: float
    tick: float
    whole: float
    sent: float
    parts: dict[str, float]
    wrong: int

    def told(self) -> str:
        """In a line."""
        parts = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in self.parts.items())
        return (
            f"gap {self.gap * 1000:.0f} ms, tick {self.tick * 1000:.0f}, whole "
            f"{self.whole * 1000:.0f} ({parts}), {self.wrong} wrong"
        )


@dataclass(frozen=True)
class Row:
    """Counted moves of one side with one load; `impossible` says why there is none."""

    side: str
    is_peer: bool
    load: Memory
    moves: tuple[Once, ...]
    impossible: str = ""

    @property
    def wrong(self) -> int:
        """Pages that did not hold what they must, of all moves."""
        return sum(once.wrong for once in self.moves)

    def series(self, name: str) -> Series:
        """`gap`, `tick` or `whole` in seconds, or `sent` in bytes."""
        return Series(name, tuple(float(getattr(once, name)) for once in self.moves))

    def as_json(self) -> dict[str, Any]:
        """As plain values; `readings.RowTold` draws them."""
        what = self.load.describe()  # a mode is added to it where figures are named
        who = {"peer": self.side, "what": f"{what}, {self.side}"}
        told: dict[str, Any] = {
            **(who if self.is_peer else {"mode": self.side, "what": what}),
            "load": {"name": self.load.name, "unit": self.load.unit, **vars(self.load)},
        }  # fmt: skip
        if self.impossible:
            return {**told, "impossible": self.impossible}
        return {
            **told, "wrong": self.wrong, "parts": medians([once.parts for once in self.moves]),
            **{name: self.series(name).as_json() for name in ("gap", "tick", "whole", "sent")},
        }  # fmt: skip


def medians(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each part over the moves."""
    return {name: statistics.median(part[name] for part in parts) for name in parts[0]}
