"""migrate bench peers: Podman and runc move what we move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.benchoptions import json_option, output_option, runs_option, save, say

if TYPE_CHECKING:
    from migrate.bench.peers.rows import Row

HEAD = ("what", "gap ms", "(min, max)", "tick ms", "whole s", "sent", "wrong")
SIZES = (64, 1024)
NAMES = (
    "podman", "podman zstd", "podman pre-checkpoint", "runc", "runc pre-dump", "runc lazy-pages",
)  # fmt: skip


@click.command(epilog="Example: migrate bench peers --mib 64 --peer runc --peer podman")
@click.option(
    "--mib",
    "sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help=f"Memory in MiB; again for more (default: {' and '.join(map(str, SIZES))}).",
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
    "--peer",
    "names",
    multiple=True,
    type=click.Choice(NAMES),
    help="A peer; again for more (default: all).",
)
@click.option(
    "--link", metavar="MBIT", type=click.FloatRange(min=1), help="The rate of the hosts' links."
)
@runs_option("Counted moves of each.")
@output_option
@json_option
def peers(
    sizes: tuple[int, ...], rate: int, kind: str, names: tuple[str, ...], link: float | None,
    runs: int, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Podman's and runc's checkpoint and restore on another host, against ours."""
    from migrate.bench.errors import BenchMissed
    from migrate.bench.loads.memory import Memory
    from migrate.bench.peers import turns
    from migrate.bench.rows import machine

    by_name = {peer.name: peer for peer in turns.PEERS}
    chosen = [by_name[name] for name in dict.fromkeys(names or NAMES)]
    loads = [Memory(mib, rate, kind) for mib in sizes or SIZES]
    rows: list[Row] = []
    result: dict[str, Any] = {}
    with turns.prepared(chosen, say, link) as ground:
        for row in turns.run(ground, loads, runs, say):
            rows.append(row)
            result = {
                "benchmark": "peers", "rows": [made.as_json() for made in rows],
                "peers": ground.peers, "link_mbit": link, **machine(),
            }  # fmt: skip
            save(output, result)  # what is there is kept if a later load fails
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print(rows)
    if wrong := sum(row.wrong for row in rows if not row.is_peer):
        raise BenchMissed(f"{wrong} pages do not hold what they must", cause="memory was damaged")


def _print(rows: list[Row]) -> None:
    from migrate.cli.output import print_table

    print_table(HEAD, (_cells(row) for row in rows if not row.impossible))
    for row in rows:
        if row.impossible:
            click.echo(f"{row.load.describe()}, {row.side}: impossible here: {row.impossible}")


def _cells(row: Row) -> tuple[str, ...]:
    from migrate.cli.sizes import human_size

    gap, tick = row.series("gap"), row.series("tick")
    return (
        f"{row.load.describe()}, {row.side}", f"{gap.median * 1000:.0f}",
        f"({min(gap.runs) * 1000:.0f}, {max(gap.runs) * 1000:.0f})", f"{tick.median * 1000:.0f}",
        f"{row.series('whole').median:.2f}", human_size(int(row.series("sent").median)),
        str(row.wrong),
    )  # fmt: skip
