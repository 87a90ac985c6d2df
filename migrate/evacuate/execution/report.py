"""What an evacuation came to: a value, and its forms as JSON and Markdown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from migrate.evacuate.execution.course import Outcome, State


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times since the epoch in seconds. `stay`: why by container name, of those not planned."""

    source: str
    begun: float
    ended: float
    outcomes: tuple[Outcome, ...] = ()
    stay: dict[str, str] = {}
    returned: bool = False  # this brought containers back to `source`
    misplaced: tuple[str, ...] = ()  # what the hosts' own words at the end contradict

    @property
    def moved(self) -> tuple[Outcome, ...]:
        """Those that are where they should be."""
        return tuple(o for o in self.outcomes if o.state is State.MOVED)

    @property
    def complete(self) -> bool:
        """Whether all that was asked has been done."""
        return len(self.moved) == len(self.outcomes) and not self.stay and not self.misplaced

    @property
    def freeze_seconds(self) -> tuple[float, float]:
        """Median and longest freeze of those that moved with their memory; 0, 0 if none did."""
        times = [o.freeze_seconds for o in self.moved if o.mode != "cold"]
        return (statistics.median(times), max(times)) if times else (0.0, 0.0)

    @property
    def gap_seconds(self) -> tuple[float, float]:
        """Median and longest service gap of the same; 0, 0 if none could be seen."""
        gaps = self.gaps
        return (statistics.median(gaps), max(gaps)) if gaps else (0.0, 0.0)

    @property
    def gaps(self) -> list[float]:
        """The service gaps that were seen, in seconds."""
        return [o.gap_seconds for o in self.moved
                if o.mode != "cold" and o.gap_seconds is not None]  # fmt: skip


def as_json(report: Report) -> dict[str, Any]:
    """Plain values, with the summary in them."""
    median, longest = report.freeze_seconds
    gap_median, gap_longest = report.gap_seconds
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain | {
        "complete": report.complete,
        "moved": len(report.moved),
        "freeze_median_seconds": median,
        "freeze_longest_seconds": longest,
        "gap_median_seconds": gap_median,
        "gap_longest_seconds": gap_longest,
        "bytes_sent": sum(o.bytes_sent for o in report.outcomes),
        "seconds": report.ended - report.begun,
    }


def summary(report: Report) -> str:
    """One sentence."""
    median, longest = report.freeze_seconds
    whole = len(report.outcomes) + len(report.stay)
    verb = "came back to" if report.returned else "left"
    words = f"{len(report.moved)} of {whole} containers {verb} {report.source}"
    words += f" in {report.ended - report.begun:.1f} s"
    if longest:
        words += f"; frozen for {median * 1000:.0f} ms at the median, {longest * 1000:.0f} at most"
    if report.gaps:
        usual, worst = (f"{gap * 1000:.0f}" for gap in report.gap_seconds)
        words += f"; away for {usual} ms at the median, {worst} at most"
        words += f" ({len(report.gaps)} answered echoes)"
    return words


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Name, way, mode, state, frozen, away, sent, seconds and remark of each, as text."""
    found: list[tuple[str, ...]] = []
    for o in outcomes:
        remark = (o.error or {}).get("what", "") or o.warning
        began = o.begun > 0
        found.append((
            o.name, f"{o.origin} -> {o.target}", o.mode, str(o.state),
            f"{o.freeze_seconds * 1000:.0f} ms" if o.state is State.MOVED else "",
            f"{o.gap_seconds * 1000:.0f} ms" if o.gap_seconds is not None else "",
            f"{o.bytes_sent / 1e6:.1f} MB" if began else "",
            f"{o.ended - o.begun:.1f} s" if began else "", str(remark),
        ))  # fmt: skip
    return found


HEAD = ("NAME", "WAY", "MODE", "STATE", "FROZEN", "AWAY", "SENT", "TOOK", "REMARK")


def as_markdown(report: Report) -> str:
    """A page with the summary and a table of all containers."""
    verb = "Return to" if report.returned else "Evacuation of"
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.begun))
    lines = [f"# {verb} {_cell(report.source)}", "", f"Begun {begun}. {summary(report)}.", ""]
    if report.outcomes:
        lines += [_line([word.capitalize() for word in HEAD]), _line(["---"] * len(HEAD))]
        lines += [_line(row) for row in rows(report.outcomes)]
    if report.stay:
        lines += ["", "## Not moved", ""]
        lines += [f"- {_cell(name)}: {_cell(why)}" for name, why in report.stay.items()]
    if report.misplaced:
        lines += ["", "## To be looked at", ""]
        lines += [f"- {_cell(words)}" for words in report.misplaced]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Text that Markdown takes for nothing else: names and errors come from other hosts."""
    flat = " ".join(text.split())
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in flat)
