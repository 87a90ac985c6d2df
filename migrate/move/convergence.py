"""When rounds of memory have converged: what the pause would be, and whether another one helps.

Pure: what a round has done goes in, a decision comes out (docs/memory.md, "When the rounds end").
"""

from __future__ import annotations

from dataclasses import dataclass

BASE_PAUSE = 0.08
"""Seconds: all of the pause but what the link takes (`migrate bench downtime`)."""
STATE_BYTES = 1_200_000
"""What CRIU's images and the tars of a small container come to."""
NO_HELP = 0.7
"""A round that leaves more than this share of what the one before left does not help."""
LEAST_ROUNDS = 2
TOO_FAST = "more rounds do not help: it writes as fast as the link sends"
BESIDE = "more rounds do not help: the large files that are written take longer"


@dataclass(frozen=True)
class Round:
    """What a round has sent; times in seconds."""

    number: int
    pages_bytes: int
    seconds: float  # of sending
    since_last: float  # in which the pages were written
    beside: float = 0.0  # of the pause, for what else has changed meanwhile
    state: float = 0.0  # of the pause, for sending all but pages and large files

    @property
    def rate(self) -> float:
        """Bytes of pages a second."""
        return self.pages_bytes / max(self.seconds, 1e-6)

    @property
    def dirty_rate(self) -> float:
        """Bytes of pages written a second; nothing is known after the first round."""
        return self.pages_bytes / max(self.since_last, 1e-6) if self.number else 0.0

    def without_pages(self) -> float:
        """Seconds, if it were frozen now and the last pages followed later."""
        return BASE_PAUSE + self.state + self.beside

    def predicted_pause(self) -> float:
        """Seconds, if it were frozen now."""
        return self.without_pages() + self.dirty_rate * self.seconds / max(self.rate, 1.0)

    @property
    def left(self) -> float:
        """Seconds for as much as this round had to send, and for what is left beside it."""
        return self.seconds + self.beside


def enough(done: list[Round], budget: float, most: int) -> str:
    """Why the rounds are over, "" when another one is worth it. `budget` in seconds."""
    last = done[-1]
    if len(done) >= most:
        return f"{most} rounds are the limit"
    if len(done) < LEAST_ROUNDS:
        return ""
    if last.predicted_pause() <= budget:
        return "the rest fits the budget"
    if last.left > NO_HELP * done[-2].left:
        return TOO_FAST if last.seconds >= last.beside else BESIDE
    return ""


def state_seconds(sent: int, seconds: float) -> float:
    """For STATE_BYTES, when as many bytes as the largest round has `sent` took that long."""
    return seconds * min(1.0, STATE_BYTES / max(sent, 1))
