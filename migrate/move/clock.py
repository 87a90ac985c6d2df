"""The other host's clock set against this one's, from round trips over the agent's connection."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from migrate.transfer.errors import ProtocolError

TRIPS = 12
CALL_LIMIT = 20.0  # seconds
MOST_SECONDS = 1e12  # of a monotonic clock: more is no clock's


@dataclass(frozen=True)
class Trip:
    """One question: sent and answered by our clock, seconds, and what theirs showed meanwhile."""

    sent: float
    theirs: float
    answered: float


@dataclass(frozen=True)
class Offset:
    """Their clock minus ours, and how far off that can be, in seconds."""

    seconds: float
    uncertainty: float

    def ours(self, theirs: float) -> float:
        """The moment on our clock at which theirs shows `theirs`."""
        return theirs - self.seconds


def checked_seconds(value: object) -> float:
    """A moment or a span that came from the wire; raises ProtocolError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError("the other host's clock told no number")
    if not (math.isfinite(value) and 0 <= value <= MOST_SECONDS):
        raise ProtocolError("the other host's clock told an impossible number")
    return float(value)


def estimate(trips: Iterable[Trip]) -> Offset:
    """By the trip that was shortest, as NTP's clock filter does (RFC 5905, section 10).

    Their moment lies anywhere between question and answer: half a trip is the bound. Raises
    ValueError without a trip.
    """
    best = min(trips, key=lambda trip: trip.answered - trip.sent)
    middle = (best.sent + best.answered) / 2
    return Offset(best.theirs - middle, (best.answered - best.sent) / 2)


def measure(call: Callable[..., Any]) -> Offset:
    """Ask the agent behind `call`; raises what asking raises, ProtocolError."""
    trips = []
    for _ in range(TRIPS):
        sent = time.monotonic()
        theirs = call("host.clock", timeout=CALL_LIMIT)
        trips.append(Trip(sent, checked_seconds(theirs), time.monotonic()))
    return estimate(trips)
