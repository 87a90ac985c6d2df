"""migrate bench report and compare: results that were kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.bench.results import Result

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_NEW_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: migrate bench report results --html report.html --plots plots")
@click.argument("directory", metavar="DIRECTORY", type=_DIRECTORY)
@click.option("--html", type=_NEW_FILE, help="Write all of it to this file, as one page.")
@click.option("--plots", type=_NEW_DIRECTORY, help="Write the plots here, as SVG and PNG.")
@click.option("--trace", type=_FILE, help="Of 'migrate move --trace': draw the pause of this move.")
def report(directory: Path, html: Path | None, plots: Path | None, trace: Path | None) -> None:
    """Print all results of a directory, and where we lose; make a page and plots of them."""
    from migrate.bench.report.losses import losses
    from migrate.bench.results import load_all, printable

    if trace and not (html or plots):
        raise click.UsageError("--trace draws a pause: give --html or --plots, too")
    results = load_all(directory)
    lost = {result.path.name: losses(result) for result in results}
    for result in results:
        _print(result)
    if any(lost.values()):
        click.echo("where we lose:")
    for name, sentences in lost.items():
        for sentence in sentences:
            click.echo(f"  {printable(name)}: {sentence}")
    if html or plots:
        _draw(results, lost, html, plots, trace)


def _print(result: Result) -> None:
    from migrate.bench.results import impossible, printable
    from migrate.cli.output import print_table

    click.echo(f"{printable(result.path.name)}: {result.benchmark} ({result.machine})")
    rows = [
        (f.name, f"{f.median:.4g}", f"({f.least:.4g}, {f.most:.4g})", str(f.limit or ""))
        for f in result.figures.values()
    ]
    print_table(("figure", "median", "(min, max)", "must hold"), rows)
    for sentence in impossible(result):
        click.echo(sentence)
    click.echo()


def _draw(
    results: list[Result], lost: dict[str, list[str]], html: Path | None, plots: Path | None,
    trace: Path | None,
) -> None:  # fmt: skip
    from migrate.bench.errors import BenchImpossible
    from migrate.bench.report import page, readings, tracefile
    from migrate.bench.report import plots as drawing
    from migrate.bench.results import printable

    rows = [row for result in results for row in readings.rows_of(result)]
    pause = (printable(trace.name), tracefile.read(trace)) if trace else readings.pause(rows)
    drawn = drawing.draw(readings.lines(rows), pause, readings.tracks(rows))
    try:
        if plots:
            drawing.write(drawn, plots)
        if html:
            html.write_text(page.page(results, drawn, lost), encoding="utf-8")
    except OSError as error:
        raise BenchImpossible(
            "the report can't be written", cause=str(error), mend="name another place"
        ) from error


@click.command(epilog="Example: migrate bench compare before.json after.json")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--run", "words", metavar="WORDS",
    help="A and B are commits: run 'migrate bench WORDS' by both, in turns.",
)  # fmt: skip
@click.option(
    "--turns", type=click.IntRange(min=1), default=3, show_default=True, help="Of each commit."
)
@click.option("--directory", type=_NEW_DIRECTORY, help="Keep the results of both commits here.")
def compare(
    first: str, second: str, words: str | None, turns: int, directory: Path | None
) -> None:  # fmt: skip
    """Set two results side by side; "apart": no run of the one is among those of the other.

    A and B are files of results; with --run they are commits, of which a worktree each is made.
    Figures of two runs differ by what else the machine did; only within one run is a ratio fair.
    """
    import tempfile

    if words is None:
        _compare(Path(first), Path(second))
        return
    with tempfile.TemporaryDirectory() as place:
        _compare(*_of_commits((first, second), words, turns, directory or Path(place)))


def _of_commits(
    commits: tuple[str, str], words: str, turns: int, directory: Path
) -> tuple[Path, Path]:  # fmt: skip
    import shlex

    import migrate
    from migrate.bench import commits as module
    from migrate.cli.benchoptions import say

    checkout = Path(migrate.__file__).resolve().parents[1]
    return module.compare(checkout, commits, shlex.split(words), turns, directory, say)


def _compare(first: Path, second: Path) -> None:
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
