"""migrate stats: what containers use of cpu, memory, processes, block devices and network."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.names import complete_containers
from migrate.cli.output import print_json, print_table
from migrate.cli.sizes import human_size

if TYPE_CHECKING:
    from migrate.runtime.records import Record
    from migrate.runtime.stats import Sample

_INTERVAL = 1.0  # seconds between two looks
_ONCE = 0.5  # seconds between the two looks of --no-stream
_HEAD = ("NAME", "ID", "CPU", "MEMORY", "LIMIT", "PIDS", "NET IN/OUT", "BLOCK IN/OUT")
_NONE = "-"
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_containers)
@click.option("--no-stream", "once", is_flag=True, help="Show it once and end.")
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON: a list with --no-stream, else an object a line.")  # fmt: skip
def stats(names: tuple[str, ...], once: bool, as_json: bool) -> None:
    """Show each second what containers use; all that run, unless some are named.

    CPU is per cent of one core. Memory leaves out cached files that nobody uses. The command ends
    by Ctrl-C, or when none of the named containers runs any more.

    \b
    Examples: migrate stats
              migrate stats --no-stream --json web
    """
    before = _look(names)
    while True:
        time.sleep(_ONCE if once else _INTERVAL)
        now = _look(names)
        _show(before, now, once, as_json)
        if once or (names and not now):
            return
        before = now


def _look(names: tuple[str, ...]) -> dict[str, Sample]:
    """By identifier; raises ContainerUnknown."""
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find, load_all
    from migrate.runtime.stats import look

    paths = Paths.from_environment()
    wanted: list[Record] = [find(paths, name) for name in names] or load_all(paths)
    found = (look(paths, record) for record in wanted)
    return {sample.record.identifier: sample for sample in found if sample}


def _show(before: dict[str, Sample], now: dict[str, Sample], once: bool, as_json: bool) -> None:
    pairs = [(sample, before.get(key)) for key, sample in now.items()]
    if as_json and once:
        print_json([_as_dict(*pair) for pair in pairs])
    elif as_json:
        for pair in pairs:
            click.echo(json.dumps(_as_dict(*pair), sort_keys=True))
    else:
        if not once and sys.stdout.isatty():
            click.echo(_HOME_AND_CLEAR, nl=False)
        print_table(_HEAD, [_row(*pair) for pair in pairs])
    sys.stdout.flush()


def _as_dict(sample: Sample, before: Sample | None) -> dict[str, Any]:
    return {
        "name": sample.record.name, "id": sample.record.identifier, "status": sample.status,
        "cpu_percent": sample.cpu_percent(before), "network_received": sample.received,
        "network_sent": sample.sent,
    } | asdict(sample.usage)  # fmt: skip


def _row(sample: Sample, before: Sample | None) -> tuple[str, ...]:
    usage, percent = sample.usage, sample.cpu_percent(before)
    pids = _NONE if usage.pids is None else str(usage.pids)
    if usage.pids_limit:
        pids += f"/{usage.pids_limit}"
    return (
        sample.record.name, sample.record.identifier,
        _NONE if percent is None else f"{percent:.1f}%", _size(usage.memory),
        _size(usage.memory_limit or None), pids,
        f"{_size(sample.received)} / {_size(sample.sent)}",
        f"{_size(usage.block_read)} / {_size(usage.block_written)}",
    )  # fmt: skip


def _size(count: int | None) -> str:
    return _NONE if count is None else human_size(count)
