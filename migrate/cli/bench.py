"""migrate bench: measurements, each against what a user would have instead."""

from __future__ import annotations

import json
from pathlib import Path

import click

from migrate.cli.benchcomparison import runtime, transfer
from migrate.cli.benchdowntime import downtime
from migrate.cli.benchevacuate import evacuate
from migrate.cli.benchnetwork import network
from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say
from migrate.cli.benchpeers import peers
from migrate.cli.benchresults import compare, report
from migrate.cli.benchrun import run
from migrate.cli.benchscale import scale
from migrate.cli.benchtracked import tracked

MEASURED = (
    "overhead", "downtime", "peers", "scale", "network", "tracked", "evacuate", "runtime",
    "transfer",
)  # fmt: skip


@click.group()
def bench() -> None:
    """Measure what migrate costs, side by side with its peers, in one run."""


@bench.command("list", epilog="Example: migrate bench list --json")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each.")
def list_benchmarks(as_json: bool) -> None:
    """List the benchmarks and what each measures."""
    from importlib import import_module

    for own in MEASURED:
        module = import_module(f"migrate.bench.{own}")
        line = (module.__doc__ or "").splitlines()[0]
        name, _, measures = line.partition(": ")
        click.echo(json.dumps({"name": name, "measures": measures}) if as_json else line)


@bench.command(epilog="Example: migrate bench overhead --runs 9 --output overhead.json")
@runs_option("Counted pairs.")
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if the ratio is above what must hold.")
def overhead(runs: int, output: Path | None, as_json: bool, check: bool) -> None:  # fmt: skip
    """The freeze time of a stop-copy move of 16 MiB against raw criu dump + restore."""
    from migrate.bench import overhead as module
    from migrate.bench.errors import BenchMissed

    outcome = module.run(runs, say)
    save(output, outcome.as_json())
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        for series in (outcome.move, outcome.raw):
            click.echo(
                f"{series.name:10} median {series.median * 1000:7.1f} ms"
                f"  (min {min(series.runs) * 1000:.1f}, max {max(series.runs) * 1000:.1f})"
            )
        parts = ", ".join(f"{k} {v * 1000:.1f}" for k, v in outcome.phases.items())
        click.echo(f"of which   {parts} ms (medians)")
        click.echo(f"ratio      {outcome.ratio:.2f}  (at most {module.MUST_HOLD} must hold)")
    if check and outcome.ratio > module.MUST_HOLD:
        raise BenchMissed(
            f"the move takes {outcome.ratio:.2f} times as long as raw criu",
            cause=f"at most {module.MUST_HOLD} must hold",
        )


COMMANDS = (
    run, downtime, peers, scale, network, tracked, evacuate, runtime, transfer, report, compare,
)  # fmt: skip
for command in COMMANDS:
    bench.add_command(command)
