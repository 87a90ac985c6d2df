"""The counted runs of one side of a benchmark."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """The counted runs of one side, in seconds."""

    name: str
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.runs)

    def as_json(self) -> dict[str, Any]:
        """Median, extremes and all runs, in seconds."""
        return {"median": self.median, "min": min(self.runs), "max": max(self.runs),
                "runs": list(self.runs)}  # fmt: skip
