"""What an agent did for one connection, with its own clock's times: for a trace at the source."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

from migrate.move.clock import checked_seconds
from migrate.transfer.agent import Context, Method
from migrate.transfer.errors import ProtocolError

MOST_STEPS = 1000
MOST_NAME = 64  # characters
_KEY = "steps"
_WITH_PARTS = ("move.restore", "move.commit")
"""Their results are the seconds of their parts, one after the other."""


@dataclass(frozen=True)
class Step:
    """Something done; `begun` in seconds of the agent's monotonic clock."""

    name: str
    begun: float
    seconds: float


def timed(name: str, method: Method) -> Method:
    """`method`, noted in its connection's session, also when it fails."""

    @functools.wraps(method)  # the agent converts arguments by the signature
    def run(context: Context, **arguments: Any) -> Any:
        begun = time.monotonic()
        parts: dict[str, float] = {}
        try:
            result = method(context, **arguments)
            if name in _WITH_PARTS:
                parts = result
            return result
        finally:
            _note(context, name, begun, parts)

    return run


def _note(context: Context, name: str, begun: float, parts: dict[str, float]) -> None:
    steps = context.session.setdefault(_KEY, [])
    if len(steps) + 1 + len(parts) > MOST_STEPS:
        return
    steps.append((name, begun, time.monotonic() - begun))
    for part, seconds in parts.items():
        steps.append((part, begun, seconds))
        begun += seconds


def told(context: Context) -> list[tuple[str, float, float]]:
    """The method `host.steps`: (name, begun, seconds) of each."""
    return list(context.session.get(_KEY, []))


def checked(answer: object) -> list[Step]:
    """The steps in an agent's answer; raises ProtocolError."""
    if not isinstance(answer, list) or len(answer) > MOST_STEPS:
        raise ProtocolError("the other host told no list of steps, or too many")
    return [_checked_step(row) for row in answer]


def _checked_step(row: object) -> Step:
    if not isinstance(row, list | tuple) or len(row) != 3:
        raise ProtocolError("the other host told a step that is none")
    name, begun, seconds = row
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise ProtocolError("the other host told a step without a proper name")
    return Step(name, checked_seconds(begun), checked_seconds(seconds))
