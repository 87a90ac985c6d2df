"""The matrix: which fault can strike at which point of a move in which mode."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.move.faultpoint import SOURCE_POINTS, TARGET_POINTS

MODES = ("stop-copy", "pre-copy", "post-copy", "hybrid", "cold")
LATE = ("post-copy", "hybrid")
FAULTS = (
    "kill-command", "kill-agent", "kill-sshd", "kill-criu", "terminate", "blink", "cut",
    "fill-here", "fill-there", "no-files", "no-writes", "no-memory", "reboot-here", "reboot-there",
    "corrupt", "garble",
)  # fmt: skip
COMMITTED = ("committed-there", "thawed-there", "serving", "committed")
"""Points behind COMMIT."""
_ROUNDS = ("files-held", "memory-sent")
_COLD = ("prepared", "restored", "committing", "committed", "unpacked", "restored-there",
         "committed-there", "thawed-there")  # fmt: skip
_CRIU_THERE = ("placed", "prepared", "frozen", "unpacked", "memory-sent", "dumped")
"""Points at which a CRIU waits or works on a host."""


@dataclass(frozen=True)
class Cell:
    """One of them."""

    mode: str
    point: str
    fault: str

    def __str__(self) -> str:
        return f"{self.mode}/{self.point}/{self.fault}"

    @property
    def at_target(self) -> bool:
        """Whether the point is the agent's."""
        return self.point in TARGET_POINTS


def cells() -> list[Cell]:
    """All of them."""
    return list(_cells())


def _cells() -> Iterator[Cell]:
    for mode in MODES:
        for point in (*SOURCE_POINTS, *TARGET_POINTS, "serving"):
            for fault in FAULTS:
                if _is_reached(mode, point) and _can_strike(mode, point, fault):
                    yield Cell(mode, point, fault)


def _is_reached(mode: str, point: str) -> bool:
    if mode == "cold":
        return point in _COLD
    if point in _ROUNDS:
        return mode == "pre-copy" or (mode == "hybrid" and point == "memory-sent")
    return point != "serving" or mode in LATE


def _can_strike(mode: str, point: str, fault: str) -> bool:
    if fault == "kill-criu":
        return mode != "cold" and point in _CRIU_THERE
    if fault == "corrupt":  # what has come is not looked at again before, nor used after
        return mode != "cold" and point == "unpacked"
    if fault == "reboot-here":  # memory that is still here is lost then, as the plan has said
        return not (mode in LATE and point in (*COMMITTED, "restored-there", "committing"))
    return True


def sample(number: int, seed: int) -> list[Cell]:
    """So many, with one `cut`, which takes some 20 s; each fault and each mode is among them."""
    chosen = random.Random(seed)
    every = cells()
    chosen.shuffle(every)
    slow = [cell for cell in every if cell.fault == "cut"][:1]
    picked: list[Cell] = []
    for what in (*FAULTS, *MODES):
        if what != "cut":
            picked += [c for c in every if what in (c.fault, c.mode) and c.fault != "cut"][:1]
    rest = [c for c in every if c.fault != "cut" and c not in picked]
    return [*dict.fromkeys(picked), *slow, *rest][:number]
