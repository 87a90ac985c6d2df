"""A row of `migrate bench downtime`: one load in one mode."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migrate.bench.loads.load import Load, Samples
from migrate.bench.series import Series


@dataclass(frozen=True)
class Row:
    """Times in seconds, sizes in bytes; sizes and rounds are those of the last move.

    `tick`, `filled` and `rate` are None where the load has no clock, no page came after the thaw,
    or nothing is counted. `rounds` are the bytes of pages that each round has found, before zeros
    are left out and the rest is compressed. `link` is the rate of the hosts' links in Mbit/s, None
    for as fast as they go. `latency` are the client's pings around the gap of one of the moves.
    """

    mode: str
    load: Load
    gap: Series
    tick: Series | None
    freeze: Series
    filled: Series | None
    rate: Series | None
    phases: dict[str, float]
    bytes_sent: int
    memory_bytes: int
    rounds: tuple[int, ...]
    wrong: int
    errors: tuple[str, ...]
    link: float | None = None
    latency: Samples = ()

    @property
    def sent_share(self) -> float:
        """Bytes on the wire over the container's memory."""
        return self.bytes_sent / max(1, self.memory_bytes)

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        clocks = {
            "gap": self.gap, "tick": self.tick, "freeze": self.freeze, "filled": self.filled,
            "rate": self.rate,
        }  # fmt: skip
        return {
            "mode": self.mode,
            "load": {"name": self.load.name, "unit": self.load.unit, **vars(self.load)},
            "what": self.load.describe(), "phases": self.phases, "bytes_sent": self.bytes_sent,
            "memory_bytes": self.memory_bytes, "sent_share": self.sent_share,
            "rounds": list(self.rounds), "wrong": self.wrong, "errors": list(self.errors),
            "link_mbit": self.link, "latency": [list(sample) for sample in self.latency],
            **{name: clock.as_json() if clock else None for name, clock in clocks.items()},
        }  # fmt: skip


def series_of(name: str, runs: Sequence[float | None]) -> Series | None:
    """The counted runs in which there was one."""
    there = tuple(value for value in runs if value is not None)
    return Series(name, there) if there else None


def machine() -> dict[str, str]:
    """What the figures were taken on, and when."""
    return {
        "kernel": platform.release(), "machine": platform.machine(),
        "cores": str(os.cpu_count()), "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }  # fmt: skip
