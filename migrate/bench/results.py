"""The results of benchmarks as files: what is in them, and two of them side by side."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench.errors import BenchImpossible

MOST_BYTES = 16 << 20
"""Of a file; more is no result."""
SCALARS = ("ratio", "bytes_sent", "sent_share", "wrong")
"""Figures that are one number; all else that counts is a series."""
HIDDEN = ("runs", "phases", "load", "latency", "must_hold")
MOST_FIGURES = 5000
"""Of a file."""
MOST_NAME = 200  # characters
_MACHINE = ("kernel", "machine", "cores", "python")


@dataclass(frozen=True)
class Limit:
    """What must hold of a median: no more than `most`, no less than `least`."""

    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether it does."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def __str__(self) -> str:
        words = (("at least", self.least), ("at most", self.most))
        return ", ".join(f"{word} {value:.4g}" for word, value in words if value is not None)


@dataclass(frozen=True)
class Figure:
    """One measured thing, in the unit of its benchmark: seconds, bytes, or a rate."""

    name: str
    median: float
    least: float
    most: float
    limit: Limit | None = None

    @property
    def holds(self) -> bool:
        """Whether the median is what it must be; so it is where nothing must hold."""
        return self.limit is None or self.limit.holds(self.median)

    def apart_from(self, other: Figure) -> bool:
        """Whether no run of the one is within the range of the other's."""
        return self.most < other.least or other.most < self.least


@dataclass(frozen=True)
class Result:
    """One file."""

    path: Path
    benchmark: str
    machine: str
    figures: dict[str, Figure]
    missed: tuple[str, ...]
    told: dict[str, Any]
    """All that is in it."""


def load(path: Path) -> Result:
    """Read one; raises BenchImpossible when it is no result."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        told = json.loads(path.read_bytes(), parse_float=_finite, parse_constant=_finite)
        if not isinstance(told, dict) or not isinstance(told.get("benchmark"), str):
            raise ValueError("it does not say which benchmark it is of")
        figures = dict(itertools.islice(_by_name(told), MOST_FIGURES + 1))
        if len(figures) > MOST_FIGURES:
            raise ValueError("it has too many figures")
        missed = tuple(printable(str(line)) for line in told.get("missed") or ())
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BenchImpossible(
            f"{path} is no result of a benchmark", cause=str(error),
            mend="give files that 'migrate bench ... --output FILE' has written",
        ) from error  # fmt: skip
    machine = ", ".join(str(told[key]) for key in _MACHINE if key in told)
    return Result(path, printable(told["benchmark"]), printable(machine), figures, missed, told)


def printable(text: str) -> str:
    """Text of a file, short, and nothing in it that a terminal or a page obeys."""
    return "".join(c if c.isprintable() else "?" for c in text[:MOST_NAME])


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no measured figure")
    return value


def _by_name(told: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    return ((figure.name, figure) for figure in _figures(told, ""))


def load_all(directory: Path) -> list[Result]:
    """All results of a directory, the oldest first; raises BenchImpossible."""
    found = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BenchImpossible(
            f"there are no results in {directory}",
            mend="run 'migrate bench downtime --output DIRECTORY/NAME.json'",
        )
    return [load(path) for path in found]


def impossible(result: Result) -> list[str]:
    """A sentence for each row that says why it could not be measured."""
    rows = result.told.get("rows")
    there = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [
        printable(f"{row.get('what')}: impossible here: {row['impossible']}")
        for row in there
        if row.get("impossible")
    ]


def side_by_side(one: Result, other: Result) -> Iterator[tuple[Figure, Figure]]:
    """The figures that both have; raises BenchImpossible when there are none."""
    common = [name for name in one.figures if name in other.figures]
    if one.benchmark != other.benchmark or not common:
        raise BenchImpossible(
            "these results have nothing in common",
            cause=f"{one.path} is of {one.benchmark}, {other.path} of {other.benchmark}",
            mend="compare two results of one benchmark with the same loads",
        )
    return ((one.figures[name], other.figures[name]) for name in common)


def _figures(value: Any, label: str, limit: Limit | None = None) -> Iterator[Figure]:
    if isinstance(value, list):
        for item in value:
            yield from _figures(item, label)
    if not isinstance(value, dict):
        return
    if {"median", "min", "max"} <= value.keys():
        median, least, most = (float(value[key]) for key in ("median", "min", "max"))
        yield Figure(printable(label), median, least, most, limit)
        return
    words = [str(value[key]) for key in ("what", "mode", "unit") if key in value]
    label = ", ".join(filter(None, [label, *words]))
    limits = _limits(value.get("must_hold"))
    for key, inner in value.items():
        name = f"{label}: {key}" if label else key
        if key in SCALARS and isinstance(inner, int | float):
            number = float(inner)
            yield Figure(printable(name), number, number, number, limits.get(key))
        elif isinstance(inner, list) and key not in HIDDEN:
            yield from _figures(inner, label)
        elif isinstance(inner, dict) and key not in HIDDEN:
            yield from _figures(inner, name, limits.get(key))


def _limits(told: Any) -> dict[str, Limit]:
    """Of the figures beside `must_hold`; one number is the most that their ratio may be."""
    if isinstance(told, int | float):
        return {"ratio": Limit(most=float(told))}
    if told is None:
        return {}
    if not isinstance(told, dict):
        raise TypeError("its limits are none")
    return {
        key: Limit(**{side: float(limit[side]) for side in ("least", "most") if side in limit})
        for key, limit in told.items()
    }
