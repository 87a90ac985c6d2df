"""Container names on the command line: arguments, completion, and a verb for each of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Record

_Function = TypeVar("_Function", bound=Callable[..., object])


def complete_containers(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of this host's containers that begin so, for `shell_complete=`."""
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import load_all

    given = ctx.params.get("names") or ()
    return [
        CompletionItem(record.name, help=record.image or record.rootfs)
        for record in load_all(Paths.from_environment())
        if record.name.startswith(incomplete) and record.name not in given
    ]


def complete_networks(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The networks of this host that begin so, for `shell_complete=`."""
    from migrate.runtime.networks import definition
    from migrate.runtime.paths import Paths

    built_in = [CompletionItem(n) for n in definition.BUILT_IN if param.name == "network_name"]
    known = definition.load_all(Paths.from_environment())
    items = built_in + [CompletionItem(d.name, help=f"{d.driver} {d.subnet}") for d in known]
    return [item for item in items if item.value.startswith(incomplete)]


def name_argument(function: _Function) -> _Function:
    """The argument NAME: one container, by name, id, or unique beginning of its id."""
    return click.argument("name", shell_complete=complete_containers)(function)


def names_argument(function: _Function) -> _Function:
    """The argument NAME...: one or more containers."""
    return click.argument(
        "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_containers
    )(function)


def for_each(names: tuple[str, ...], act: Callable[[Paths, Record], object]) -> None:
    """Do it to each container and print its name; the first error is raised after the last one."""
    from migrate.errors import MigrateError
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    errors: list[MigrateError] = []
    for name in names:
        try:
            record = find(paths, name)
            act(paths, record)
            click.echo(record.name)
        except MigrateError as error:
            errors.append(error)
    for later in errors[1:]:
        click.echo(f"error: {later}", err=True)
    if errors:
        raise errors[0]
