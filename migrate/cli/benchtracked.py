"""migrate bench tracked: what tracking costs a load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say

if TYPE_CHECKING:
    from migrate.bench.tracked import Pair


HEAD = (
    "what", "unit", "untracked", "(min, max)", "tracked", "(min, max)", "ratio", "(min, max)",
    "round",
)  # fmt: skip


@click.command(epilog="Example: migrate bench tracked --mib 256 --runs 9")
@click.option(
    "--mib",
    type=click.IntRange(min=16),
    default=1024,
    show_default=True,
    help="Memory of each load in MiB.",
)
@runs_option("Counted pairs of each.")
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if redis loses more than may be.")
def tracked(mib: int, runs: int, output: Path | None, as_json: bool, check: bool) -> None:
    """What a load loses while its written pages are tracked."""
    from migrate.bench import tracked as module
    from migrate.bench.errors import BenchMissed
    from migrate.cli.output import print_table

    outcome = module.run(mib, runs, say)
    save(output, outcome.as_json())
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        print_table(HEAD, map(cells, outcome.pairs))
        click.echo(f"redis may lose {module.MUST_HOLD * 100:.0f} % at most")
    missed = [f"{p.load.describe()}: {p.ratio.median:.2f}" for p in outcome.pairs if p.missed]
    if check and missed:
        raise BenchMissed(
            f"tracking costs more than {module.MUST_HOLD * 100:.0f} %", cause="; ".join(missed)
        )


def cells(pair: Pair) -> tuple[str, ...]:
    """The row of a pair, beneath HEAD."""
    from migrate.cli.sizes import human_size

    found = [pair.load.describe(), pair.unit]
    for series, digits in ((pair.untracked, 0), (pair.tracked, 0), (pair.ratio, 2)):
        found.append(f"{series.median:.{digits}f}")
        found.append(f"({min(series.runs):.{digits}f}, {max(series.runs):.{digits}f})")
    return (*found, f"{pair.round_seconds * 1000:.0f} ms, {human_size(pair.round_bytes)}")
