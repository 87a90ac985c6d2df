"""migrate bench network: silences against freezes, by driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say
from migrate.move.modes import MODES

if TYPE_CHECKING:
    from migrate.bench.network import Row

DRIVERS = ("bridge", "overlay", "routed")
HEAD = ("driver", "traffic", "silence ms", "frozen ms", "excess ms", "(min, max)")


@click.command(epilog="Example: migrate bench network --driver overlay --runs 9 --check")
@click.option(
    "--driver",
    "drivers",
    multiple=True,
    type=click.Choice(DRIVERS),
    help="A driver; again for more (default: all).",
)
@click.option(
    "--mode",
    type=click.Choice([mode for mode in MODES if mode != "cold"]),
    default="pre-copy",
    show_default=True,
    help="How memory moves.",
)
@click.option(
    "--link", metavar="MBIT", type=click.FloatRange(min=1), help="The rate of the hosts' links."
)
@runs_option("Counted moves of each driver.")
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if a silence is longer than it may be.")
def network(
    drivers: tuple[str, ...], mode: str, link: float | None, runs: int, output: Path | None,
    as_json: bool, check: bool,
) -> None:  # fmt: skip
    """How much longer a client's silence is than the freeze, by network driver."""
    from migrate.bench import network as module
    from migrate.bench.errors import BenchMissed
    from migrate.cli.output import print_table

    rows: list[Row] = []
    for row in module.run(drivers or DRIVERS, mode, runs, say, link):
        rows.append(row)
        save(output, module.as_json(rows, mode, link))
    if as_json:
        click.echo(json.dumps(module.as_json(rows, mode, link)))
    else:
        print_table(HEAD, map(_cells, rows))
        click.echo(f"at most {module.MUST_HOLD * 1000:.0f} ms must hold")
    if check and (complaints := module.missed(rows)):
        raise BenchMissed("clients wait longer than they may", cause="; ".join(complaints))


def _cells(row: Row) -> tuple[str, ...]:
    import statistics

    excess = row.excess
    return (
        row.driver, row.kind, f"{statistics.median(row.gaps) * 1000:.0f}",
        f"{statistics.median(row.freezes) * 1000:.0f}", f"{excess.median * 1000:.0f}",
        f"({min(excess.runs) * 1000:.0f}, {max(excess.runs) * 1000:.0f})",
    )  # fmt: skip
