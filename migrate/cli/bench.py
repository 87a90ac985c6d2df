"""migrate bench: measurements, each against what a user would have instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.bench.downtime import Row


@click.group()
def bench() -> None:
    """Measure what migrate costs, side by side with its peers, in one run."""


@bench.command("list")
def list_benchmarks() -> None:
    """List the benchmarks and what each measures."""
    from migrate.bench import downtime, overhead

    for module in (overhead, downtime):
        click.echo((module.__doc__ or "").splitlines()[0])


@bench.command(epilog="Example: migrate bench overhead --runs 9 --output overhead.json")
@click.option(
    "--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Counted pairs."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result to this file, as JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--check", is_flag=True, help="Fail if the ratio is above what must hold.")
def overhead(runs: int, output: Path | None, as_json: bool, check: bool) -> None:  # fmt: skip
    """The freeze time of a stop-copy move of 16 MiB against raw criu dump + restore."""
    from migrate.bench import overhead as module
    from migrate.bench.errors import BenchMissed

    outcome = module.run(runs, lambda text: click.echo(text, err=True))
    if output:
        output.write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
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


def _downtime_cells(row: Row) -> tuple[str, ...]:
    from migrate.cli.image import human_size

    gap, tick, freeze = (series.median * 1000 for series in (row.gap, row.tick, row.freeze))
    extremes = f"({min(row.gap.runs) * 1000:.0f}, {max(row.gap.runs) * 1000:.0f})"
    return (
        row.mode, str(row.load.mib), str(row.load.rate), f"{gap:.0f}", extremes, f"{tick:.0f}",
        f"{freeze:.0f}", human_size(row.bytes_sent),
    )  # fmt: skip


@bench.command(epilog="Example: migrate bench downtime --mib 64 --mib 1024 --rate 1000")
@click.option(
    "--mib",
    "sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="Memory in MiB; may be given again.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Random pages written a second.",
)
@click.option(
    "--kind",
    type=click.Choice(["random", "text", "zero"]),
    default="random",
    show_default=True,
    help="What the pages hold.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["stop-copy", "pre-copy"]),
    help="A mode; again for more (default: all).",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Counted moves of each.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result to this file, as JSON.",
)
def downtime(
    sizes: tuple[int, ...], rate: int, kind: str, modes: tuple[str, ...], runs: int,
    output: Path | None,
) -> None:  # fmt: skip
    """How long a container is away, by mode, memory and how fast it writes."""
    from migrate.bench import downtime as module
    from migrate.bench.errors import BenchMissed
    from migrate.cli.output import print_table

    loads = [module.Load(mib, rate, kind) for mib in sizes or (64, 256, 1024)]
    found = list(
        module.run(
            loads,
            list(modes or ("stop-copy", "pre-copy")),
            runs,
            lambda text: click.echo(text, err=True),
        )
    )
    if output:
        told = {
            "benchmark": "downtime",
            "rows": [row.as_json() for row in found],
            **module.machine(),
        }
        output.write_text(json.dumps(told, indent=1) + "\n")
    head = ("mode", "MiB", "pages/s", "gap ms", "(min, max)", "tick ms", "frozen ms", "sent")
    print_table(head, map(_downtime_cells, found))
    for row in found:
        parts = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in row.phases.items())
        click.echo(f"{row.mode}, {row.load.mib} MiB: {parts} ms (medians)")
    if wrong := sum(row.wrong_pages for row in found):
        raise BenchMissed(f"{wrong} pages do not hold what they must", cause="memory was damaged")
