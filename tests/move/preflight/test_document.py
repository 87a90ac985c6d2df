"""docs/preflight.md names every check, and says rightly which can be waived."""

from __future__ import annotations

import re
from pathlib import Path

from migrate.checkpoint.preflight import CHECKS
from migrate.move.preflight.source import SKIPPABLE

DOCUMENT = Path(__file__).parents[3] / "docs/preflight.md"
ELSEWHERE = {
    "terminal", "hosts", "architecture", "address", "criu", "mode", "binds", "cordon", "name",
    "paths", "network", "storage", "user-namespace", "volumes", "policy", "control-groups",
}  # fmt: skip


def test_it_is_complete() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    told: dict[str, str] = {}
    for row in rows:
        first, *_, last = row.strip("| ").split(" | ")
        told |= dict.fromkeys(re.findall("`([a-z-]+)`", first), last)
    assert {name for name, waived in told.items() if waived == "yes"} == set(SKIPPABLE)
    assert {name for name, waived in told.items() if waived == "no"} == ELSEWHERE
    assert {check.name for check in CHECKS} <= set(told)
