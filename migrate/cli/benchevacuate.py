"""migrate bench evacuate: a host emptied over a slow link."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say


@click.command(epilog="Example: migrate bench evacuate --containers 4 --link 200 --check")
@click.option(
    "--containers",
    type=click.IntRange(1, 90),
    default=8,
    show_default=True,
    help="Containers on the host.",
)
@click.option(
    "--mib",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Memory of each on average: from half of it to one and a half.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    help="Moves at once.",
)
@click.option(
    "--link",
    metavar="MBIT",
    type=click.FloatRange(min=1),
    default=100.0,
    show_default=True,
    help="Rate of each host's link.",
)
@runs_option("Evacuations; each is brought back.")
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if it takes longer than it may.")
def evacuate(
    containers: int, mib: int, parallel: int, link: float, runs: int, output: Path | None,
    as_json: bool, check: bool,
) -> None:  # fmt: skip
    """The whole evacuation of a host against its bytes over the rate of its link.

    The ratio has a limit where each container's bytes take 5 seconds of the link or more: there the
    link is what the evacuation waits for.
    """
    from migrate.bench import evacuate as module
    from migrate.bench.errors import BenchMissed

    outcome = module.run(containers, mib, parallel, link, runs, say)
    save(output, outcome.as_json())
    ratio, limit = outcome.ratio, outcome.limit
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        for series in (outcome.wall, outcome.least):
            click.echo(
                f"{series.name:16} median {series.median:7.1f} s"
                f"  (min {min(series.runs):.1f}, max {max(series.runs):.1f})"
            )
        for name, times in (("gap", outcome.gaps), ("frozen", outcome.freezes)):
            click.echo(
                f"{name:16} median {statistics.median(times) * 1000:7.0f} ms, "
                f"worst {max(times) * 1000:.0f}"
            )
        holds = f"at most {limit} must hold" if limit else "no limit: it is not bound by the link"
        click.echo(f"ratio            {ratio.median:.2f}  ({holds})")
    missed = [f"{ratio.median:.2f} times its bytes"] if limit and ratio.median > limit else []
    missed += [f"{outcome.wrong} pages are wrong"] if outcome.wrong else []
    if check and missed:
        raise BenchMissed("the evacuation misses what must hold", cause="; ".join(missed))
