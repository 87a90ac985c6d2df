"""migrate bench run: several benchmarks, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from migrate.cli.benchoptions import say


@click.command(epilog="Example: migrate bench run downtime peers --directory results")
@click.argument("names", metavar="[NAME...|FILE]", nargs=-1)
@click.option("--full", is_flag=True, help="The full form: more sizes, more runs; hours.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-results"),
    show_default=True,
    help="Where the results go, a file each.",
)
def run(names: tuple[str, ...], full: bool, directory: Path) -> None:
    """Run benchmarks by name (default: all), in their short form; or those of a file in TOML.

    One that fails does not keep the others from being run. A file has a table for each result, with
    'benchmark' and 'options'.
    """
    from migrate.bench import suite
    from migrate.bench.errors import BenchMissed

    file = next((Path(name) for name in names if name.endswith(".toml")), None)
    if file and (len(names) > 1 or full):
        raise click.UsageError("a file says itself what to run: name nothing beside it")
    runs = suite.of_file(file) if file else suite.of_names(names, full=full)
    command = [str(Path(sys.executable).with_name("migrate"))]
    if failed := suite.run_all(runs, command, directory, say):
        raise BenchMissed("not all benchmarks succeeded", cause="; ".join(failed))
    say(f"the results are in {directory}: migrate bench report {directory}")
