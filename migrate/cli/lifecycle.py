"""migrate start, stop, kill, pause, resume, rm: the verbs that take the names of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from migrate.cli.names import for_each, names_argument

if TYPE_CHECKING:
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Record


@click.command()
@click.option("--again", is_flag=True, hidden=True, help="By its restart policy.")
@names_argument
def start(names: tuple[str, ...], again: bool) -> None:
    """Start created or stopped containers.

    \b
    Example: migrate start web
    """
    from migrate.runtime.lifecycle.start import start as act

    for_each(names, lambda paths, record: act(paths, record, again=again))


@click.command()
@click.option(
    "-t", "--time", "limit", type=click.FloatRange(min=0), default=10.0, metavar="SECONDS",
    help="Kill it when it has not ended by then (10).",
)  # fmt: skip
@names_argument
def stop(names: tuple[str, ...], limit: float) -> None:
    """Ask containers to end by their stop signal, and kill them after a while.

    \b
    Example: migrate stop -t 3 web
    """
    from migrate.runtime.lifecycle.stop import stop as act

    for_each(names, lambda paths, record: act(paths, record, limit))


@click.command()
@click.option(
    "-s", "--signal", "signal", default="KILL", metavar="SIGNAL",
    help="A signal's name or number (KILL).",
)  # fmt: skip
@names_argument
def kill(names: tuple[str, ...], signal: str) -> None:
    """Send a signal to the first process of containers.

    \b
    Example: migrate kill -s HUP web
    """
    from migrate.runtime.lifecycle.stop import kill as act

    for_each(names, lambda paths, record: act(paths, record, signal))


@click.command()
@names_argument
def pause(names: tuple[str, ...]) -> None:
    """Freeze every process of containers, until 'migrate resume'.

    \b
    Example: migrate pause web
    """
    from migrate.runtime.lifecycle.pause import pause as act

    for_each(names, act)


@click.command()
@names_argument
def resume(names: tuple[str, ...]) -> None:
    """Let paused containers run on.

    \b
    Example: migrate resume web
    """
    from migrate.runtime.lifecycle.pause import resume as act

    for_each(names, act)


@click.command()
@click.option("-f", "--force", is_flag=True, help="Kill them first if they run.")
@names_argument
def rm(names: tuple[str, ...], force: bool) -> None:
    """Remove containers with all that they wrote; named volumes stay.

    \b
    Example: migrate rm -f web db
    """
    from migrate.cli.peers import tell_gone
    from migrate.runtime.debris import clear_debris
    from migrate.runtime.errors import ContainerUnknown
    from migrate.runtime.lifecycle.delete import delete
    from migrate.runtime.paths import Paths as HostPaths

    removed: list[Record] = []

    def remove(paths: Paths, record: Record) -> None:
        try:
            delete(paths, record, force=force)
        except ContainerUnknown:  # somebody else has removed it just now
            if not force:
                raise
        else:
            removed.append(record)

    try:
        for_each(names, remove)
    finally:
        clear_debris(HostPaths.from_environment())
        tell_gone(HostPaths.from_environment(), removed)
