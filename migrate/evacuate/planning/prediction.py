"""What a move will cost: bytes, seconds and downtime, by a model that is simple on purpose.

- *Bytes.* With memory: 1.1 times the memory in use (pages that are written meanwhile go again; in
  docs/benchmarks.md 1.02 to 1.3 times) and the writable layer with its volumes. Cold: these files.
  Layers that the target lacks are not known to a plan, so not counted; nor is compression.
- *Seconds.* Every move has a part that no link makes faster (connecting, checks, preparing,
  settling): AROUND, and for a cold one of a running container STOP and START. Its bytes then share
  the link evenly with those of the moves at the same time; a target that was measured slower takes
  no more than its rate, and the others have what it leaves.
- *Downtime.* With memory: PAUSE, whatever the memory (pre-copy), but no more than the longest that
  was asked for, since rounds are sent until the rest fits. Up to WORTH_ROUNDS of memory `auto`
  takes stop-copy, whose pause has all of the memory's own time on the link. Cold: stop, all bytes,
  start. A container without processes has none.

A program that writes faster than the link sends, post-copy and trees of many processes (50: 0.4 s)
are not in the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.evacuate.model import Guest
from migrate.evacuate.planning.room import WITH_PROCESSES
from migrate.move.modes import WORTH_ROUNDS

RESENT = 1.1
PAUSE = 0.1  # seconds; 50 to 115 ms in docs/benchmarks.md
AROUND = 1.5
"""Seconds. Of 10 moves of next to no bytes between two test hosts: 1.0 to 2.1, median 1.4."""
STOP, START = 1.0, 0.3
"""Seconds. Redis was stopped and started in 0.3 (both); a program that ignores its stop signal is
killed after `migrate move --stop-time`, 10 s. Between the two it is the program's own affair."""


@dataclass(frozen=True)
class Load:
    """What one move asks of the link: seconds without it, then bytes, at `most` bytes/s."""

    seconds: float
    bytes: int
    most: float = float("inf")


@dataclass(frozen=True)
class Span:
    """When a move runs, in seconds from the plan's start; `sending` of them it is on the link."""

    start: float
    end: float
    sending: float


@dataclass
class _Active:
    index: int
    start: float
    wait: float
    left: float
    sending: float = 0.0


def load_of(guest: Guest, *, cold: bool, most: float = float("inf")) -> Load:
    """What the container's move asks, with its memory or `cold`; `most` in bytes/s."""
    disk = max(guest.disk, 0)
    if not cold:
        return Load(AROUND, round(max(guest.memory, 0) * RESENT) + disk, most)
    stopping = STOP + START if guest.status in WITH_PROCESSES else 0.0
    return Load(AROUND + stopping, disk, most)


def downtime_of(
    guest: Guest, load: Load, span: Span, *, cold: bool, max_downtime: float | None
) -> float:  # fmt: skip
    """Seconds for which the container does not run."""
    if guest.status not in WITH_PROCESSES:
        return 0.0
    if cold:
        return STOP + span.sending + START
    if guest.memory <= WORTH_ROUNDS:
        return PAUSE + span.sending * max(guest.memory, 0) / max(load.bytes, 1)
    return PAUSE if max_downtime is None else min(max_downtime, PAUSE)


def schedule(loads: Sequence[Load], parallel: int, rate: float) -> list[Span]:
    """When each move runs if they start in this order, `parallel` at once, over one link.

    `rate` in bytes/s, above 0.
    """
    spans: dict[int, Span] = {}
    active: list[_Active] = []
    now, following = 0.0, 0
    while following < len(loads) or active:
        while following < len(loads) and len(active) < parallel:
            load = loads[following]
            active.append(_Active(following, now, load.seconds, float(load.bytes)))
            following += 1
        now += _advance(active, loads, rate)
        for move in [move for move in active if move.wait <= 0 and move.left <= 0]:
            spans[move.index] = Span(move.start, now, move.sending)
            active.remove(move)
    return [spans[index] for index in range(len(loads))]


def _advance(active: Sequence[_Active], loads: Sequence[Load], rate: float) -> float:
    """Let time pass until one of the moves gets on the link or is done; returns the seconds."""
    sending = [move for move in active if move.wait <= 0 and move.left > 0]
    shares = _shares([loads[move.index].most for move in sending], rate)
    waits = [(move.wait, move) for move in active if move.wait > 0]
    waits += [(move.left / share, move) for move, share in zip(sending, shares, strict=True)]
    if not waits:
        return 0.0
    passed, first = min(waits, key=lambda wait: (wait[0], wait[1].index))
    for move in active:
        move.wait = max(move.wait - passed, 0.0)
    for move, share in zip(sending, shares, strict=True):
        move.left = max(move.left - share * passed, 0.0)
        move.sending += passed
    # Rounding must not leave a crumb of it: then time would stand still.
    if first in sending:
        first.left = 0.0
    else:
        first.wait = 0.0
    return passed


def _shares(most: Sequence[float], rate: float) -> list[float]:
    """The link divided evenly; what one can't take is left to the others."""
    shares = [0.0] * len(most)
    left = rate
    order = sorted(range(len(most)), key=lambda index: most[index])
    for place, index in enumerate(order):
        shares[index] = min(most[index], left / (len(order) - place))
        left -= shares[index]
    return shares
