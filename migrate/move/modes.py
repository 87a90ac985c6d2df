"""The modes of a move: which one is taken, and what stands against the others."""

from __future__ import annotations

from dataclasses import dataclass

from migrate.move.facts import Facts
from migrate.move.sharing import Apart
from migrate.runtime.status import Status

MODES = ("auto", "cold", "stop-copy", "pre-copy", "hybrid", "post-copy")
LAZY = frozenset({"pre-copy", "hybrid", "post-copy"})
"""Those in which memory is filled in after the thaw."""
LATE = frozenset({"hybrid", "post-copy"})
"""Those in which some of it is sent after the thaw."""
RISK = "should this host fail before all memory has followed, the container is lost"
NOT_FILLED = (
    "the kernel lets no process of a user namespace be filled in after the thaw (userfaultfd wants "
    "the host's CAP_SYS_PTRACE)"
)
WORTH_ROUNDS = 4 << 20
"""Bytes. How fast the link is nobody knows yet; 100 Mbit/s take a third of a second for so many."""


@dataclass(frozen=True)
class Choice:
    """A mode, why it is taken, and for each other mode why it is not."""

    mode: str
    reason: str
    others: tuple[tuple[str, str], ...] = ()


def choose(
    wanted: str, status: Status, here: Facts, there: Facts, memory: int, apart: Apart, *,
    mapped: bool = False,
) -> Choice:  # fmt: skip
    """The mode that was asked for, or the best that both hosts can; `memory` in bytes in use.

    `mapped`: the container has a user namespace.
    """
    unfilled = NOT_FILLED if mapped else ""
    late = unfilled or _against_memory(status, here, there) or lacking_for_late(here, there)
    against = {
        "pre-copy": unfilled or _against_pre_copy(status, here, there, memory, apart),
        "hybrid": late or apart.beyond_limit(),
        "post-copy": late or apart.beyond_limit(),
        "stop-copy": _against_memory(status, here, there),
        "cold": "",
    }
    reasons = {
        "pre-copy": f"{here.tracking} here and lazy filling there: the pause is flat",
        "stop-copy": against["pre-copy"],
        "cold": against["stop-copy"],
    }
    # Memory is not given up unasked, only where there is none: rather an obstacle is told. Nor is
    # the container made to depend on two hosts, unless rounds show that it must be (preparing.py).
    best = next(mode for mode, why in against.items() if not why and mode not in LATE)
    if best == "cold" and _has_memory(status):
        best = "stop-copy"
    if wanted != "auto":
        others = {mode: why or "not asked for" for mode, why in against.items()}
        return Choice(wanted, "asked for", _without(wanted, others))
    worse = {
        "hybrid": f"only if rounds can't make the pause fit: {RISK}", "post-copy": RISK,
        "stop-copy": "it stops for longer", "cold": "memory would be lost",
    }  # fmt: skip
    others = {mode: why or worse.get(mode, "") for mode, why in against.items()}
    return Choice(best, reasons[best], _without(best, others))


def _without(mode: str, others: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((other, why) for other, why in others.items() if other != mode)


def _has_memory(status: Status) -> bool:
    return status.word in {"running", "paused"}


def _against_memory(status: Status, here: Facts, there: Facts) -> str:
    """What stands against a move with memory, "" when nothing does."""
    if not _has_memory(status):
        return "the container has no running processes"
    if not here.criu or not there.criu:
        side = "this host" if not here.criu else "the target"
        return f"memory is to be kept, but {side} has no CRIU"
    return ""


def _against_pre_copy(
    status: Status, here: Facts, there: Facts, memory: int, apart: Apart
) -> str:  # fmt: skip
    why = _against_memory(status, here, there) or lacking_for_pre_copy(here, there)
    if not why and 0 < memory <= WORTH_ROUNDS:  # 0: no controller tells
        return f"rounds are not worth their while for {memory >> 20} MiB"
    return why or apart.too_much(memory)


def lacking_for_pre_copy(here: Facts, there: Facts) -> str:
    """What the hosts lack for the mode pre-copy, "" when nothing."""
    if not here.tracking:
        return f"this host can't tell written pages: {here.no_tracking}"
    if not here.skeleton:
        return "this host lacks the skeleton filter ('migrate doctor --fix' builds it)"
    if not there.lazy:
        return "the target's kernel has no userfaultfd to fill memory in after the thaw"
    if not there.lazy_criu:
        return "the target's CRIU can't leave memory to be filled in after the thaw (lazy pages)"
    return ""


def lacking_for_late(here: Facts, there: Facts) -> str:
    """What the hosts lack for memory that follows after the thaw, "" when nothing."""
    if why := lacking_for_pre_copy(here, there):
        return why
    return "" if there.awaits_pages else "the target's migrate is too old for it"
