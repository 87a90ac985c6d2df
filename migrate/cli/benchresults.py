"""migrate bench report and compare: results that were kept in files."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: migrate bench report results")
@click.argument("directory", metavar="DIRECTORY", type=_DIRECTORY)
def report(directory: Path) -> None:
    """Print all results of a directory, and what they have missed."""
    from migrate.bench.results import load_all
    from migrate.cli.output import print_table

    for result in load_all(directory):
        click.echo(f"{result.path.name}: {result.benchmark} ({result.machine})")
        rows = [
            (f.name, f"{f.median:.4g}", f"({f.least:.4g}, {f.most:.4g})")
            for f in result.figures.values()
        ]
        print_table(("figure", "median", "(min, max)"), rows)
        for complaint in result.missed:
            click.echo(f"missed: {complaint}")
        click.echo()


@click.command(epilog="Example: migrate bench compare before.json after.json")
@click.argument("first", metavar="A.json", type=_FILE)
@click.argument("second", metavar="B.json", type=_FILE)
def compare(first: Path, second: Path) -> None:
    """Set two results side by side; "apart": no run of the one is among those of the other.

    Figures of two runs differ by what else the machine did; only within one run is a ratio fair.
    """
    from migrate.bench.results import load, side_by_side
    from migrate.cli.output import print_table

    one, other = load(first), load(second)
    if one.machine != other.machine:
        click.echo(f"not the same machine: {one.machine} and {other.machine}", err=True)
    rows = [
        (
            a.name, f"{a.median:.4g} ({a.least:.4g}, {a.most:.4g})",
            f"{b.median:.4g} ({b.least:.4g}, {b.most:.4g})",
            f"{b.median / a.median:.2f}" if a.median else "-",
            "apart" if a.apart_from(b) else "",
        )
        for a, b in side_by_side(one, other)
    ]  # fmt: skip
    print_table(("figure", "A", "B", "B / A", ""), rows)
