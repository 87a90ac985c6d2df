"""migrate bench downtime: the rows, by load and mode."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say
from migrate.move.modes import MODES

if TYPE_CHECKING:
    from migrate.bench.loads.load import Load
    from migrate.bench.rows import Row
    from migrate.bench.series import Series

WORKLOADS = (
    "memory", "text", "zero", "redis", "redis-spread", "tree", "tree-python", "files",
    "connections", "numeric", "postgres", "nginx",
)  # fmt: skip
SIZES = {
    "memory": (64, 256, 1024), "text": (1024,), "zero": (1024,), "redis": (1024,),
    "redis-spread": (1024,), "tree": (512,), "tree-python": (512,), "files": (16,),
    "connections": (16,),
}  # fmt: skip
"""MiB, where none is given; the others have no size."""
HEAD = (
    "what", "mode", "gap ms", "(min, max)", "tick ms", "frozen ms", "filled s", "sent", "share",
    "rate", "wrong",
)  # fmt: skip


@click.command(epilog="Example: migrate bench downtime --mib 64 --mib 1024 --workload redis")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=click.Choice(WORKLOADS),
    help="What moves (default: memory); again for more.",
)
@click.option(
    "--must-hold", is_flag=True, help="The rows that must hold, each with its own size and rate."
)
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
    help="Random pages written a second (memory).",
)
@click.option(
    "--working",
    metavar="MIB",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Where pages are written (memory); 0 for all of it.",
)
@click.option(
    "--kind",
    type=click.Choice(["random", "text", "zero"]),
    default="random",
    show_default=True,
    help="What the pages hold (memory).",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice([mode for mode in MODES if mode != "cold"]),
    help="A mode; again for more (default: all that keep memory, or those that must hold).",
)
@runs_option("Counted moves of each.")
@click.option(
    "--link", metavar="MBIT", type=click.FloatRange(min=1), help="The rate of the hosts' links."
)
@click.option("--latency", is_flag=True, help="Keep the client's pings around one gap of each row.")
@output_option
@json_option
@click.option("--check", is_flag=True, help="Fail if a row is worse than what must hold.")
def downtime(
    workloads: tuple[str, ...], must_hold: bool, sizes: tuple[int, ...], rate: int, working: int,
    kind: str, modes: tuple[str, ...], runs: int, link: float | None, latency: bool,
    output: Path | None, as_json: bool, check: bool,
) -> None:  # fmt: skip
    """How long a container is away, by what runs in it and by mode."""
    from migrate.bench import downtime as module
    from migrate.bench import goals
    from migrate.bench.errors import BenchMissed
    from migrate.bench.rows import machine

    loads = goals.loads_that_must_hold() if must_hold else []
    if workloads or not must_hold:
        loads += loads_of(workloads or ("memory",), sizes, rate, kind, working)
    there = module.measured_modes()
    chosen = list(modes or (goals.modes_that_must_hold(there) if must_hold else there))
    rows: list[Row] = []
    result: dict[str, Any] = {}
    for row in module.run(loads, chosen, runs, say, link, latency=latency):
        rows.append(row)
        result = {"benchmark": "downtime", "rows": [goals.with_limits(row) for row in rows],
                  "missed": goals.missed(rows), **machine()}  # fmt: skip
        save(output, result)  # what is there is kept if a later load fails
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print(rows, goals.missed(rows))
    if wrong := sum(row.wrong for row in rows):
        raise BenchMissed(
            f"{wrong} pages or keys do not hold what they must", cause="memory was damaged"
        )
    if check and (missed := goals.missed(rows)):
        raise BenchMissed("not all holds that must hold", cause="; ".join(missed))


def loads_of(
    workloads: tuple[str, ...], sizes: tuple[int, ...], rate: int, kind: str, working: int = 0
) -> list[Load]:
    """The loads that were asked for; without a size, each has the sizes of its own."""
    from migrate.bench.loads.holding import Holding
    from migrate.bench.loads.memory import Memory
    from migrate.bench.loads.numeric import Numeric
    from migrate.bench.loads.redis import Redis
    from migrate.bench.loads.servers import Nginx, Postgres
    from migrate.bench.loads.tree import Tree

    makers: dict[str, Callable[[int], Load]] = {
        "memory": lambda mib: Memory(mib, rate, kind, working),
        "text": lambda mib: Memory(mib, 0, "text"),
        "zero": lambda mib: Memory(mib, 0, "zero"),
        "tree": Tree,
        "tree-python": lambda mib: Tree(mib, interpreted=True),
        "redis": Redis,
        "redis-spread": lambda mib: Redis(mib, Redis(mib).keys),
        "files": lambda mib: Holding(files=1000, mib=mib),
        "connections": lambda mib: Holding(connections=200, mib=mib),
    }
    others: dict[str, Load] = {"numeric": Numeric(), "postgres": Postgres(), "nginx": Nginx()}
    loads: list[Load] = []
    for name in workloads:
        if name in others:
            loads.append(others[name])
        else:
            loads += [makers[name](mib) for mib in sizes or SIZES[name]]
    return loads


def _print(rows: list[Row], missed: list[str]) -> None:
    from migrate.cli.output import print_table
    from migrate.cli.sizes import human_size

    print_table(HEAD, map(_cells, rows))
    for row in rows:
        parts = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in row.phases.items())
        click.echo(f"{row.load.describe()}, {row.mode}: {parts} ms (medians)")
        if row.rounds:
            click.echo(f"  pages by round: {', '.join(map(human_size, row.rounds))}")
    for complaint in missed:
        click.echo(f"missed: {complaint}")


def _cells(row: Row) -> tuple[str, ...]:
    from migrate.cli.sizes import human_size

    extremes = f"({min(row.gap.runs) * 1000:.0f}, {max(row.gap.runs) * 1000:.0f})"
    return (
        row.load.describe(), row.mode, _cell(row.gap, 1000), extremes, _cell(row.tick, 1000),
        _cell(row.freeze, 1000), _cell(row.filled, 1, 2), human_size(row.bytes_sent),
        f"{row.sent_share * 100:.0f} %", f"{_cell(row.rate, 1)} {row.load.unit}", str(row.wrong),
    )  # fmt: skip


def _cell(series: Series | None, factor: float, digits: int = 0) -> str:
    return f"{series.median * factor:.{digits}f}" if series else "-"
