"""migrate bench scale: slopes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say

if TYPE_CHECKING:
    from migrate.bench.scale import Points

NAMES = ("memory", "processes", "files", "connections", "containers")
HEAD = ("what", "slope", "(min, max)", "unit", "points: median ms")


@click.command(epilog="Example: migrate bench scale --axis files --axis connections --runs 4")
@click.option(
    "--axis",
    "names",
    multiple=True,
    type=click.Choice(NAMES),
    help="What grows; again for more (default: all).",
)
@click.option("--full", is_flag=True, help="More points.")
@runs_option("Counted moves at each point.", default=4)
@output_option
@json_option
def scale(
    names: tuple[str, ...], full: bool, runs: int, output: Path | None, as_json: bool
) -> None:  # fmt: skip
    """What a move costs more for more memory, processes, files, connections, containers."""
    from migrate.bench import scale as module
    from migrate.bench.errors import BenchMissed
    from migrate.cli.output import print_table

    axes = [axis for axis in module.AXES if axis.name in (names or NAMES)]
    done: list[Points] = []
    for points in module.run(axes, runs, say, full=full):
        done.append(points)
        save(output, module.as_json(done, runs))
    if as_json:
        click.echo(json.dumps(module.as_json(done, runs)))
    else:
        print_table(HEAD, (cells for points in done for cells in _cells(points)))
    if wrong := sum(points.wrong for points in done):
        raise BenchMissed(f"{wrong} pieces of content are wrong", cause="a load was damaged")


def _cells(points: Points) -> Iterator[tuple[str, ...]]:
    import statistics

    for figure, seconds in points.seconds.items():
        slope = points.slope(figure)
        told = ", ".join(
            f"{point}: {statistics.median(runs) * 1000:.0f}" for point, runs in seconds.items()
        )
        yield (
            f"{points.axis.name}: {figure}", f"{slope.median:.3g}",
            f"({min(slope.runs):.3g}, {max(slope.runs):.3g})", f"ms/{points.axis.unit}", told,
        )  # fmt: skip
