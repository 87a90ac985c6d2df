"""All checks of this host in one list, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from migrate.move.doctor import cgroups, cordon, criu, kernel, network, storage
from migrate.move.doctor.finding import Finding
from migrate.runtime.paths import Paths

if TYPE_CHECKING:
    from rich.table import Table

REPORT_LIMIT = 256 << 10
"""Bytes of a report that comes from another host."""
_COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


def examine(paths: Paths) -> list[Finding]:
    """Look at this host; takes under a second when CRIU's probe has passed since boot."""
    return [
        *kernel.check(), *criu.check(), *cgroups.check(), *storage.check(paths), *network.check(),
        *cordon.check(paths),
    ]  # fmt: skip


def to_json(findings: list[Finding]) -> bytes:
    """A list of objects with the fields of `Finding`."""
    return msgspec.json.format(msgspec.json.encode(findings), indent=2)


def from_json(data: bytes) -> list[Finding]:
    """What `to_json` wrote, perhaps at another host; raises ValueError."""
    if len(data) > REPORT_LIMIT:
        raise ValueError(f"a report of {len(data)} bytes")
    return msgspec.json.decode(data, type=list[Finding])


def table(findings: list[Finding]) -> Table:
    """Name, status, what was found; for what is not ok also what it costs and the mend."""
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for finding in findings:
        colour = _COLOURS[finding.status]
        text = escape(finding.found)
        if finding.status != "ok":
            text += (
                f"\n[dim]costs:[/] {escape(finding.costs)}\n[dim]mend:[/] {escape(finding.mend)}"
            )
        made.add_row(finding.name, f"[{colour}]{finding.status}[/]", text)
    return made
