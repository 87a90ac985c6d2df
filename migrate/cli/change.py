"""migrate top, update, rename: a look into a container, and what can be changed of it."""

from __future__ import annotations

import click

from migrate.cli.names import complete_containers, name_argument, names_argument
from migrate.cli.output import print_json, print_table
from migrate.cli.sizes import human_size
from migrate.cli.values import Size

_COLUMNS = ("PID", "INNER", "PARENT", "USER", "STATE", "THREADS", "CPU", "MEMORY", "COMMAND")


@click.command()
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def top(name: str, as_json: bool) -> None:
    """Show the processes in a container.

    PID and PARENT are the host's numbers, INNER the container's own; CPU is seconds of a core.

    \b
    Example: migrate top web
    """
    from dataclasses import asdict

    from migrate.runtime.paths import Paths
    from migrate.runtime.processes import processes_in
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    found = processes_in(paths, find(paths, name))
    if as_json:
        print_json([asdict(process) for process in found])
        return
    rows = [
        (str(p.pid), str(p.inner), str(p.parent), p.user, p.state, str(p.threads),
         f"{p.cpu_seconds:.2f}", human_size(p.memory), p.command)
        for p in found
    ]  # fmt: skip
    print_table(_COLUMNS, rows)


@click.command()
@click.option(
    "-m", "--memory", type=Size(), metavar="SIZE", help="Memory, as 512m; 0 for no limit."
)
@click.option("--cpus", type=click.FloatRange(min=0), metavar="N", help="Cores, as 0.5; 0 for all.")
@click.option("--pids-limit", "pids", type=click.IntRange(min=0), metavar="N",
              help="Processes and threads; 0 for no limit.")  # fmt: skip
@names_argument
def update(
    names: tuple[str, ...], memory: int | None, cpus: float | None, pids: int | None
) -> None:
    """Change limits of containers, at once and for good; what is not given stays.

    \b
    Example: migrate update --memory 1g --cpus 2 web
    """
    from migrate.cli.names import for_each
    from migrate.runtime.lifecycle.update import update as act

    if memory is None and cpus is None and pids is None:
        raise click.UsageError("give --memory, --cpus or --pids-limit")
    for_each(names, lambda paths, record: act(paths, record, memory=memory, cpus=cpus, pids=pids))


@click.command()
@click.argument("old", shell_complete=complete_containers)
@click.argument("new")
def rename(old: str, new: str) -> None:
    """Give a container another name; its id and its host name stay.

    \b
    Example: migrate rename web web-old
    """
    from migrate.runtime.lifecycle.rename import rename as act
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    click.echo(act(paths, find(paths, old), new).name)
