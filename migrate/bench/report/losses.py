"""Where results say that we lose: what must hold and does not, and peers that do better.

Peers stand beside ours in one row (comparison.py), or have rows of their own with the same load;
what costs more the more there is of it is told by its slope (scale.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from migrate.bench.comparison import losses as losses_of_row
from migrate.bench.errors import BenchImpossible
from migrate.bench.results import Result, printable

OF_A_MOVE = {"gap": "s of service gap", "whole": "s for the whole", "sent": "bytes on the wire"}
"""Of rows that are one side's moves; less of each is better."""


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
    rows = [row for row in _rows(result) if "ours" in row]
    moves = [row for row in _rows(result) if "load" in row and "impossible" not in row]
    try:
        for row in rows:
            yield from losses_of_row(row)
        yield from _of_moves(moves)
        yield from _of_slopes([row for row in _rows(result) if "slope" in row])
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


def _of_moves(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Of each load the best of ours against the best of the peers; raises ValueError."""
    by_load: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_load.setdefault(json.dumps(row["load"], sort_keys=True), []).append(row)
    for figure, unit in OF_A_MOVE.items():
        for same in by_load.values():
            there = [row for row in same if isinstance(row.get(figure), dict)]
            ours = [row for row in there if not row.get("peer")]
            peers = [row for row in there if row.get("peer")]
            if not ours or not peers:
                continue
            median = _median_of(figure)
            us, best = min(ours, key=median), min(peers, key=median)
            if median(best) < median(us):
                theirs = f"{best['peer']} {median(best):.4g}"
                yield f"{us.get('what')}: {median(us):.4g} {unit}, {theirs}"


def _of_slopes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What makes the gap longer in every turn, the more there is of it; raises ValueError."""
    for row in rows:
        told = msgspec.convert(row["slope"], dict[str, Any])
        least = msgspec.convert(told.get("min"), float)
        what, _, figure = str(row.get("what")).rpartition(": ")
        if figure == "gap" and least > 0:
            median = msgspec.convert(told.get("median"), float)
            yield f"{what}: more of it makes the service gap longer, {median:.3g} {row.get('unit')}"


def _median_of(figure: str) -> Callable[[dict[str, Any]], float]:
    return lambda row: msgspec.convert(row[figure].get("median"), float)


def _rows(result: Result) -> list[dict[str, Any]]:
    rows = result.told.get("rows")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
