"""Where results say that we lose: what must hold and does not, and peers that do better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from migrate.bench.comparison import losses as losses_of_row
from migrate.bench.errors import BenchImpossible
from migrate.bench.results import Result, printable


def losses(result: Result) -> list[str]:
    """A sentence for each; raises BenchImpossible for a malformed row."""
    told = [f"missed: {complaint}" for complaint in result.missed]
    if "missed" not in result.told:
        told += [
            f"missed: {figure.name} is {figure.median:.4g}, {figure.limit} must hold"
            for figure in result.figures.values()
            if not figure.holds
        ]
    return told + [printable(line) for line in _to_peers(result)]


def _to_peers(result: Result) -> Iterator[str]:
    for row in _rows(result):
        try:
            yield from losses_of_row(row)
        except ValueError as error:
            raise BenchImpossible(
                f"{result.path} has a row that can't be compared", cause=str(error),
                mend="take it out of the directory, or measure it anew",
            ) from error  # fmt: skip
    for figure in result.figures.values():
        if result.benchmark == "overhead" and figure.name == "ratio" and figure.median > 1:
            yield f"a move takes {figure.median:.2f} times as long as raw criu"
        if result.benchmark == "tracked" and figure.name.endswith("/s: ratio") and figure.most < 1:
            yield f"tracking costs {(1 - figure.median) * 100:.0f} %: {figure.name}"


def _rows(result: Result) -> list[dict[str, Any]]:
    rows = result.told.get("rows")
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, dict) and "ours" in row]
