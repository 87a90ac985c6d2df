"""migrate bench runtime and transfer: sides that took turns, one beneath the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say

if TYPE_CHECKING:
    from migrate.bench.comparison import Comparison

HEAD = ("what", "side", "median", "(min, max)", "unit")


@click.command(epilog="Example: migrate bench runtime --check --output runtime.json")
@runs_option("Counted turns of each command.", default=20)
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if a command is slower than what must hold.")
def runtime(runs: int, output: Path | None, as_json: bool, check: bool) -> None:
    """Run, state and exec of a container, against crun and runc on the same bundle."""
    from migrate.bench import runtime as module
    from migrate.bench.errors import BenchMissed

    outcome = module.run(runs, say)
    save(output, outcome.as_json())
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        _print(outcome.rows, 1000, "ms")
        for complaint in outcome.missed:
            click.echo(f"missed: {complaint}")
    if check and outcome.missed:
        raise BenchMissed("not all holds that must hold", cause="; ".join(outcome.missed))


@click.command(epilog="Example: migrate bench transfer --mib 1024 --link 1000")
@click.option(
    "--mib",
    type=click.IntRange(1, 16384),
    default=512,
    show_default=True,
    help="Bytes that are sent, in MiB.",
)
@click.option(
    "--link", metavar="MBIT", type=click.FloatRange(min=1), help="The rate of the hosts' links."
)
@runs_option("Counted turns of each.")
@output_option
@json_option
def transfer(
    mib: int, link: float | None, runs: int, output: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Our data connections against plain TCP and ssh cat: rate, bytes on the wire, CPU time."""
    from migrate.bench import transfer as module

    outcome = module.run(mib, link, runs, say)
    save(output, outcome.as_json())
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        _print(outcome.rows, 1, "")


def _print(rows: Sequence[Comparison], factor: float, unit: str) -> None:
    from migrate.cli.output import print_table

    print_table(HEAD, (cells for row in rows for cells in _cells(row, factor, unit)))


def _cells(row: Comparison, factor: float, unit: str) -> Iterator[tuple[str, ...]]:
    for series in row.sides:
        middle, least, most = (
            f"{value * factor:.4g}" for value in (series.median, min(series.runs), max(series.runs))
        )
        yield row.what, series.name, middle, f"({least}, {most})", unit or row.unit
    if row.ratio:
        extremes = f"({min(row.ratio.runs):.2f}, {max(row.ratio.runs):.2f})"
        sides = " over ".join(row.ratio_of or ())
        yield row.what, sides, f"{row.ratio.median:.2f}", extremes, "times"
