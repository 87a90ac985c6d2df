"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from migrate.errors import MigrateError


@dataclass(frozen=True)
class Verdict:
    """One check's: no obstacles, or these. `skipped`: the user has said that they do not count."""

    check: str  # its name, as `--skip-check` takes it
    subject: str  # what it looks at, in some words
    obstacles: tuple[MigrateError, ...] = ()
    skippable: bool = True
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether it has found nothing."""
        return not self.obstacles

    def as_json(self) -> dict[str, Any]:
        """`{check, subject, state, skippable, obstacles}`; state: passed, refused or skipped."""
        state = "passed" if self.passed else "skipped" if self.skipped else "refused"
        return {
            "check": self.check, "subject": self.subject, "state": state,
            "skippable": self.skippable, "obstacles": [e.to_wire() for e in self.obstacles],
        }  # fmt: skip


def joined(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Those of one name as one: both hosts can have a word on the same."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        earlier = found.get(verdict.check)
        found[verdict.check] = verdict if earlier is None else replace(
            earlier, obstacles=(*earlier.obstacles, *verdict.obstacles),
            skipped=earlier.skipped and verdict.skipped,
        )  # fmt: skip
    return tuple(found.values())
