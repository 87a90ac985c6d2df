"""scale: what a move costs more for more memory, processes, files, connections and containers.

Five axes; on each the same load moves between two test hosts on this machine with more and more of
one thing (containers: idle ones, on the first host), in pre-copy. The points of an axis take turns,
PASSES times over; the first move of each does not count. For the service gap, the freeze time and
the whole command, the figures are the slope by least squares, in milliseconds for one more of the
thing, of each turn, and the points themselves. What the slope is measured against is zero.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrate.bench import downtime, hosts
from migrate.bench.loads.holding import Holding
from migrate.bench.loads.load import Load
from migrate.bench.loads.memory import Memory
from migrate.bench.loads.tree import Tree
from migrate.bench.rows import machine
from migrate.bench.series import Series

MODE = "pre-copy"
PASSES = 2
FIGURES = ("gap", "frozen", "whole")
TREE_MIB = 128


@dataclass(frozen=True)
class Axis:
    """What grows: its unit, the load with so much of it, and the points."""

    name: str
    unit: str
    load: Callable[[int], Load]
    points: tuple[int, ...]
    more: tuple[int, ...]
    """Of the full form."""
    neighbours: bool = False
    """Whether the points are idle containers beside the load."""


AXES = (
    Axis("memory", "GiB", Memory, (64, 256, 1024), (64, 256, 1024, 4096)),
    Axis("processes", "process", lambda count: Tree(TREE_MIB, count), (2, 10, 25), (2, 10, 25, 50)),
    Axis("files", "file", lambda count: Holding(files=count), (0, 300, 1000), (0, 300, 1000)),
    Axis(
        "connections", "connection", lambda count: Holding(connections=count), (0, 50, 200),
        (0, 50, 100, 200),
    ),
    Axis("containers", "container", lambda _: Holding(), (0, 5, 15), (0, 10, 30), neighbours=True),
)  # fmt: skip


@dataclass
class Points:
    """The counted moves of an axis: by figure and point, seconds in the order of the turns."""

    axis: Axis
    seconds: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    wrong: int = 0

    def add(self, point: int, once: downtime.Once) -> None:
        """One counted move."""
        seen = (once.seen.gap, once.moved.result["freeze_seconds"], once.moved.seconds)
        for name, value in zip(FIGURES, seen, strict=True):
            self.seconds.setdefault(name, {}).setdefault(point, []).append(value)

    def slope(self, figure: str) -> Series:
        """Milliseconds for one more, of each turn."""
        points = self.seconds[figure]
        per = 1024 if self.axis.name == "memory" else 1
        turns = zip(*points.values(), strict=True)
        return Series(
            "slope",
            tuple(
                slope([point / per for point in points], [second * 1000 for second in turn])
                for turn in turns
            ),
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each figure, as plain values."""
        return [
            {
                "what": f"{self.axis.name}: {figure}", "unit": f"ms/{self.axis.unit}",
                "slope": self.slope(figure).as_json(), "wrong": self.wrong,
                "points": [
                    {"what": f"{point}", "at": point, "seconds": Series("", tuple(runs)).as_json()}
                    for point, runs in self.seconds[figure].items()
                ],
            }
            for figure in FIGURES
        ]  # fmt: skip


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line with the least squares; two different x at least."""
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    over = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return over / sum((a - middle_x) ** 2 for a in x)


def run(
    axes: Sequence[Axis], runs: int, report: Callable[[str], None], *, full: bool = False
) -> Iterator[Points]:  # fmt: skip
    """The points of each axis, with at least `runs` counted moves of each."""
    with hosts.site(report) as site:
        for axis in axes:
            points = Points(axis)
            for turn in range(min(PASSES, runs)):
                for point in axis.more if full else axis.points:
                    _visit(site, points, point, -(-runs // min(PASSES, runs)), report, turn)
            yield points


def _visit(
    site: hosts.Site, points: Points, point: int, moves: int, report: Callable[[str], None],
    turn: int,
) -> None:  # fmt: skip
    """Start the load, and move it to and fro."""
    axis = points.axis
    source, target = site.pair
    with _neighbours(site, point if axis.neighbours else 0), axis.load(point).started(site) as load:
        for number in range(moves + 1):
            once = downtime.move(source, target, load, site.migrate, MODE)
            source, target = target, source
            points.wrong += once.wrong + len(once.seen.errors)
            if number:
                points.add(point, once)
            report(
                f"{axis.name} {point}, pass {turn + 1}{'' if number else ' (not counted)'}: "
                f"{downtime.told(once)}"
            )


@contextlib.contextmanager
def _neighbours(site: hosts.Site, count: int) -> Iterator[None]:
    """Idle containers on the first host."""
    host, names = site.pair[0], [f"neighbour-{number}" for number in range(count)]
    try:
        for name in names:
            host.run([
                site.migrate, "run", "-d", "--name", name, "-v", "/usr:/usr:ro", hosts.IMAGE,
                "/usr/bin/sleep", "1000000",
            ])  # fmt: skip
        yield
    finally:
        if names:
            host.run([site.migrate, "rm", "-f", *names], check=False)


def as_json(done: Sequence[Points], runs: int) -> dict[str, Any]:
    """The result with the machine it was taken on."""
    return {
        "benchmark": "scale", "mode": MODE, "moves": runs,
        "rows": [row for points in done for row in points.rows()], **machine(),
    }  # fmt: skip
