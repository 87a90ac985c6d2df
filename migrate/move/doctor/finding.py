"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, and if it is not as it should be, what that costs and the mend."""

    name: str
    status: Status
    found: str
    costs: str = ""
    mend: str = ""
    fixable: bool = False
    """`migrate doctor --fix` can mend it."""
    needed_for_move: bool = False


def good(name: str, found: str, *, needed: bool = False) -> Finding:
    """All is well."""
    return Finding(name, "ok", found, needed_for_move=needed)


def lacking(
    name: str, found: str, costs: str, mend: str, *, fixable: bool = False, needed: bool = False
) -> Finding:
    """Missing where a move needs it, else a warning."""
    status: Status = "missing" if needed else "warning"
    return Finding(name, status, found, costs, mend, fixable, needed)


def fit_for_move(findings: list[Finding]) -> bool:
    """Whether everything is ok that a move needs."""
    return all(f.status == "ok" for f in findings if f.needed_for_move)
