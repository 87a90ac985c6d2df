"""One container's way from host to host: what is to be done, how far it is, how it ended."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec


class State(enum.StrEnum):
    """How far a container is. A string, as it stands in the journal and the report."""

    WAITING = "waiting"
    MOVING = "moving"  # it runs at its origin; an interruption rolls back
    FROZEN = "frozen"  # or stopped, mode cold: it is let finish
    SERVING = "serving"  # it runs at its target, and some of its memory is still to come
    MOVED = "moved"
    FAILED = "failed"  # it runs at its origin, as before
    INTERRUPTED = "interrupted"  # rolled back by Ctrl-C or the deadline, or not begun
    UNSETTLED = "unsettled"  # held until `migrate recover` can ask both hosts


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """One container to be moved. Hosts by name and address, "" for this host; predictions."""

    container: str  # its id
    name: str
    origin: str
    origin_address: str
    target: str
    target_address: str
    mode: str
    bytes: int = 0
    seconds: float = 0.0
    address: str = ""  # the container's own, with prefix length


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it ended. Times in seconds, begun and ended since the epoch; sizes in bytes."""

    container: str
    name: str
    origin: str
    target: str
    state: State
    mode: str = ""
    begun: float = 0.0
    ended: float = 0.0
    freeze_seconds: float = 0.0
    bytes_sent: int = 0
    memory_bytes: int = 0
    generation: int = 0
    error: dict[str, Any] | None = None  # as MigrateError.to_wire
    warning: str = ""
    gap_seconds: float | None = None  # the service gap, where its address answers echoes


@dataclass
class Course:
    """How far one container is, for who watches; written by the thread that moves it."""

    task: Task
    state: State = State.WAITING
    phase: str = ""
    done: int = 0  # bytes of `total` in this phase
    total: int = 0
    rate: float = 0.0  # bytes/s
    begun: float = 0.0  # on the monotonic clock
    frozen_at: float = 0.0
    outcome: Outcome | None = None
    _phase_begun: float = field(default=0.0, repr=False)

    def hear(self, event: dict[str, Any]) -> None:
        """Take in one line of `migrate move --json`; what is not understood changes nothing."""
        kind, name = event.get("event"), event.get("name")
        if kind == "phase" and isinstance(name, str):
            self.phase, self.done, self.total, self.rate = name, 0, 0, 0.0
            self._phase_begun = time.monotonic()
            if name in {"freeze", "stop"} and self.state is State.MOVING:
                self.state, self.frozen_at = State.FROZEN, time.monotonic()
            elif name == "serve":
                self.state = State.SERVING
        elif kind == "bytes":
            done, total = event.get("done"), event.get("total")
            if isinstance(done, int) and isinstance(total, int):
                self.done, self.total = done, total
                self.rate = done / max(time.monotonic() - self._phase_begun, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Of this phase, by its rate so far; None where nobody knows."""
        if self.rate <= 0 or self.total <= self.done:
            return None
        return (self.total - self.done) / self.rate
