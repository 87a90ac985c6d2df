"""What a move tells while it goes on: plain values, rendered by the command."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """`kind` is phase (a new phase begins), bytes (done of total, in bytes), note, or result."""

    kind: str
    name: str
    data: dict[str, Any] = field(default_factory=dict)


Report = Callable[[Event], None]


@dataclass(frozen=True)
class Span:
    """A phase that is over; times in seconds of the monotonic clock."""

    name: str
    begun: float
    ended: float


@dataclass
class Phases:
    """Seconds by phase, in the order in which they began."""

    report: Report
    seconds: dict[str, float] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    _name: str = ""
    _begun: float = 0.0

    def enter(self, name: str) -> None:
        """End the current phase and begin another."""
        self.leave()
        self._name, self._begun = name, time.monotonic()
        self.report(Event("phase", name))

    def leave(self) -> None:
        """End the current phase."""
        if self._name:
            span = Span(self._name, self._begun, time.monotonic())
            self.spans.append(span)
            passed = span.ended - span.begun
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + passed
        self._name = ""


@dataclass(frozen=True)
class Result:
    """What a finished move has to show. Times in seconds, sizes in bytes."""

    container: str
    name: str
    target: str
    mode: str
    generation: int
    freeze_seconds: float
    freeze_phases: dict[str, float]
    phases: dict[str, float]
    total_seconds: float
    bytes_sent: int
    memory_bytes: int
    layers_sent: int
    reason: str = ""
    warning: str = ""
