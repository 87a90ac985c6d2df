"""One thing measured of several sides that took turns: ours, and what a user would have instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from migrate.bench.results import Limit
from migrate.bench.series import Series


@dataclass(frozen=True)
class Comparison:
    """`sides`, each with as many runs; the same number is of the same turn.

    `ratio_of`: two sides whose ratio is told, turn by turn: what both have in common cancels out.
    `limits`: what must hold, by side or "ratio", as in `results.Limit`.
    """

    what: str
    unit: str
    sides: tuple[Series, ...]
    ours: tuple[str, ...]
    """The names of those sides that are ours."""
    more_is_better: bool = False
    ratio_of: tuple[str, str] | None = None
    limits: dict[str, dict[str, float]] = field(default_factory=dict)

    def side(self, name: str) -> Series:
        """One by its name."""
        return next(series for series in self.sides if series.name == name)

    @property
    def ratio(self) -> Series | None:
        """Of each turn; None where none is asked for."""
        if self.ratio_of is None:
            return None
        pairs = zip(*(self.side(name).runs for name in self.ratio_of), strict=True)
        return Series("ratio", tuple(ours / peer for ours, peer in pairs))

    def missed(self) -> list[str]:
        """A sentence for each limit that is not held."""
        figures = {series.name: series for series in self.sides}
        if self.ratio:
            figures["ratio"] = self.ratio
        return [
            f"{self.what}: {name} {figures[name].median:.4g}, {Limit(**limit)} must hold"
            for name, limit in self.limits.items()
            if not Limit(**limit).holds(figures[name].median)
        ]

    def as_json(self) -> dict[str, Any]:
        """As plain values: the sides by name."""
        return {
            "what": self.what, "unit": self.unit, "ours": list(self.ours),
            "more_is_better": self.more_is_better, "must_hold": self.limits,
            **({"ratio": self.ratio.as_json()} if self.ratio else {}),
            **{series.name: series.as_json() for series in self.sides},
        }  # fmt: skip


class _Told(msgspec.Struct, frozen=True):
    what: str
    unit: str
    ours: list[str]
    more_is_better: bool = False


def losses(told: dict[str, Any]) -> list[str]:
    """Where a row, as `as_json` gives it, says that a peer does better; raises ValueError.

    `msgspec.ValidationError` is a ValueError.
    """
    row = msgspec.convert(told, _Told)
    medians = {
        name: msgspec.convert(side["median"], float)
        for name, side in told.items()
        if isinstance(side, dict) and "median" in side and name != "ratio"
    }
    peers = {name: median for name, median in medians.items() if name not in row.ours}
    if not peers:
        return []
    pick = max if row.more_is_better else min
    best = pick(peers, key=lambda name: peers[name])
    return [
        f"{row.what}: {name} {medians[name]:.4g} {row.unit}, {best} {peers[best]:.4g}"
        for name in row.ours
        if name in medians and pick(medians[name], peers[best]) != medians[name]
    ]
