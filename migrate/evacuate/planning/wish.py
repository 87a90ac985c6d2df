"""What the user wants of an evacuation, and which containers a label selector takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from migrate.errors import UsageError

MOST_AT_ONCE = 64
DEFAULT_RATE = 100e6
SELECTOR_LIMIT = 4096

_REQUIREMENT = re.compile(
    r"(?P<absent>!)?\s*(?P<key>[^\s=!,()]+)\s*(?:(?P<operator>==?|!=)\s*(?P<value>[^\s=!,()]*))?"
)


class Requirement(msgspec.Struct, frozen=True):
    """One condition of a selector on a container's labels."""

    key: str
    operator: Literal["equal", "differs", "exists", "absent"]
    value: str = ""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """As kubectl has it: `key!=value` also holds where there is no such label."""
        if self.operator == "equal":
            return labels.get(self.key) == self.value
        if self.operator == "differs":
            return labels.get(self.key) != self.value
        return (self.key in labels) == (self.operator == "exists")


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """`key=value`, `key==value`, `key!=value`, `key` and `!key`, comma separated; all must hold.

    An empty text selects everything. Raises UsageError.
    """
    if len(text) > SELECTOR_LIMIT:
        raise UsageError(f"the selector is longer than {SELECTOR_LIMIT} characters")
    if not text.strip():
        return ()
    return tuple(_requirement(part.strip()) for part in text.split(","))


def _requirement(part: str) -> Requirement:
    match = _REQUIREMENT.fullmatch(part)
    if match is None or (match["absent"] and match["operator"]):
        raise UsageError(
            f"'{part}' is no label selector",
            mend="write key=value, key!=value, key or !key, several with commas between them",
        )
    if match["operator"] is None:
        return Requirement(match["key"], "absent" if match["absent"] else "exists")
    operator: Literal["differs", "equal"] = "differs" if match["operator"] == "!=" else "equal"
    return Requirement(match["key"], operator, match["value"])


def selects(selector: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether all of the selector's requirements hold."""
    return all(requirement.holds(labels) for requirement in selector)


class Wish(msgspec.Struct, frozen=True):
    """How a host is to be emptied. Raises UsageError for values that make no sense."""

    parallel: int = 2  # moves at once
    max_downtime: float | None = None  # seconds, of each container
    deadline: float | None = None  # seconds from the start
    rate: float = DEFAULT_RATE  # bytes/s of the link that all moves share
    selector: tuple[Requirement, ...] = ()
    on_failure: Literal["stop", "skip", "cold"] = "skip"

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= MOST_AT_ONCE:
            raise UsageError(f"{self.parallel} moves at once: it must be 1 to {MOST_AT_ONCE}")
        for what, value in (
            ("the longest downtime", self.max_downtime), ("the deadline", self.deadline),
            ("the link's rate", self.rate),
        ):  # fmt: skip
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{what} must be a number above 0, not {value}")
        if self.on_failure not in {"stop", "skip", "cold"}:
            raise UsageError(f"'{self.on_failure}' is none of stop, skip, cold")
