"""The results of benchmarks as files: what is in them, and two of them side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench.errors import BenchImpossible

MOST_BYTES = 16 << 20
"""Of a file; more is no result."""
SCALARS = ("ratio", "bytes_sent", "sent_share", "wrong")
"""Figures that are one number; all else that counts is a series."""
HIDDEN = ("runs", "phases", "load")


@dataclass(frozen=True)
class Figure:
    """One measured thing, in the unit of its benchmark: seconds, bytes, or a rate."""

    name: str
    median: float
    least: float
    most: float

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


def load(path: Path) -> Result:
    """Read one; raises BenchImpossible when it is no result."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        told = json.loads(path.read_bytes())
        if not isinstance(told, dict) or not isinstance(told.get("benchmark"), str):
            raise ValueError("it does not say which benchmark it is of")
        figures = {figure.name: figure for figure in _figures(told, "")}
    except (OSError, ValueError, RecursionError) as error:
        raise BenchImpossible(
            f"{path} is no result of a benchmark", cause=str(error),
            mend="give files that 'migrate bench ... --output FILE' has written",
        ) from error  # fmt: skip
    machine = ", ".join(str(told[key]) for key in ("kernel", "machine", "python") if key in told)
    missed = tuple(str(line) for line in told.get("missed") or ())
    return Result(path, told["benchmark"], machine, figures, missed)


def load_all(directory: Path) -> list[Result]:
    """All results of a directory, the oldest first; raises BenchImpossible."""
    found = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BenchImpossible(
            f"there are no results in {directory}",
            mend="run 'migrate bench downtime --output DIRECTORY/NAME.json'",
        )
    return [load(path) for path in found]


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


def _figures(value: Any, label: str) -> Iterator[Figure]:
    if isinstance(value, list):
        for item in value:
            yield from _figures(item, label)
    if not isinstance(value, dict):
        return
    if {"median", "min", "max"} <= value.keys():
        yield Figure(label, *(float(value[key]) for key in ("median", "min", "max")))
        return
    words = [str(value[key]) for key in ("what", "mode", "unit") if key in value]
    label = ", ".join(filter(None, [label, *words]))
    for key, inner in value.items():
        name = f"{label}: {key}" if label else key
        if key in SCALARS and isinstance(inner, int | float):
            yield Figure(name, float(inner), float(inner), float(inner))
        elif isinstance(inner, list) and key not in HIDDEN:
            yield from _figures(inner, label)
        elif isinstance(inner, dict) and key not in HIDDEN:
            yield from _figures(inner, name)
