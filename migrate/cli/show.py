"""migrate ps, inspect, logs: what there is, and what it said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.names import name_argument
from migrate.cli.output import print_json, print_table

if TYPE_CHECKING:
    from migrate.cli.logtext import LogPrinter
    from migrate.runtime.paths import ContainerPaths, Paths
    from migrate.runtime.records import Record
    from migrate.runtime.status import Status

_SHOWN = {"running", "paused"}


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that do not run.")
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(everything: bool, quiet: bool, as_json: bool) -> None:
    """List the containers of this host that run.

    \b
    Example: migrate ps -a
    """
    from migrate.runtime.cgroups.layout import detect
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import load_all
    from migrate.runtime.status import status_of

    paths = Paths.from_environment()
    layout = detect()
    found = [(record, status_of(paths, record, layout)) for record in load_all(paths)]
    found = [(r, status) for r, status in found if everything or status.word in _SHOWN]
    if as_json:
        print_json([_as_dict(record, status) for record, status in found])
    elif quiet:
        for record, _status in found:
            click.echo(record.identifier)
    else:
        head = ("NAME", "ID", "STATUS", "IMAGE", "ADDRESS", "CREATED")
        print_table(head, [_row(record, status) for record, status in found])
        _tell_cordon(paths)


def _tell_cordon(paths: Paths) -> None:
    """On standard error, as it is no container."""
    from migrate.runtime.cordon import read

    if cordon := read(paths):
        click.echo(f"this host is cordoned {cordon}; it takes no containers", err=True)


def _row(record: Record, status: Status) -> tuple[str, ...]:
    word = status.word
    if status.exit_status is not None:
        word += f" ({status.exit_status})"
    if record.held:
        word += ", held by a move"
    if record.moved_to:
        word += f" to {record.moved_to}"
    address = record.network.address.partition("/")[0] or record.network.driver
    created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
    return record.name, record.identifier, word, record.image or record.rootfs, address, created


def _as_dict(record: Record, status: Status) -> dict[str, Any]:
    return {
        "name": record.name, "id": record.identifier, "status": status.word, "pid": status.pid,
        "exit_status": status.exit_status, "image": record.image, "rootfs": record.rootfs,
        "address": record.network.address, "created": record.created, "labels": record.labels,
        "held": record.held, "moved_to": record.moved_to, "generation": record.generation,
    }  # fmt: skip


@click.command()
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON (it always does).")
def inspect(name: str, as_json: bool) -> None:
    """Show all that this host knows of a container, as JSON.

    \b
    Example: migrate inspect web
    """
    import msgspec

    from migrate.runtime.filling import progress
    from migrate.runtime.lifecycle.create import load_spec
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find, load_process
    from migrate.runtime.status import status_of

    paths = Paths.from_environment()
    record = find(paths, name)
    own = paths.container(record.identifier)
    print_json({
        "record": {field: getattr(record, field) for field in ("identifier", "name")}
        | msgspec.to_builtins(record),
        "status": msgspec.to_builtins(status_of(paths, record)),
        "spec": load_spec(paths, record),
        "process": msgspec.to_builtins(load_process(own)),
        "filling": msgspec.to_builtins(progress(own)),
    })  # fmt: skip


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until the container has ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--timestamps", "stamps", is_flag=True, help="With the time of each line.")
@name_argument
def logs(name: str, follow: bool, tail: int | None, stamps: bool) -> None:
    """Show a container's output: its stdout on stdout, its stderr on stderr.

    \b
    Example: migrate logs -f --tail 20 web
    """
    from migrate.cli.logtext import LogPrinter
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    own = paths.container(find(paths, name).identifier)
    with LogPrinter(own.log, stamps=stamps) as printer:
        printer.show(tail)
        if follow:
            _follow(own, printer)


def _follow(own: ContainerPaths, printer: LogPrinter) -> None:
    from migrate.cli.logfollow import Waiting
    from migrate.runtime.records import load_process

    with Waiting(own) as waiting:
        while True:
            waiting.ready()
            process = load_process(own)  # looked at before the reading: nothing comes after
            printer.show()
            if process is None or not (process.alive or process.monitored):
                break
            waiting.wait(process)
