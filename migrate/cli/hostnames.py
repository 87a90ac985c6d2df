"""Hosts on the command line: the option --inventory, arguments, completion, from name to host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from migrate.evacuate.inventory.hosts import Host
    from migrate.transfer.target import Target

_Function = TypeVar("_Function", bound=Callable[..., object])

inventory_option = click.option(
    "--inventory",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The inventory: FILE.toml, or Ansible's.  [MIGRATE_INVENTORY, /etc/migrate/hosts.toml]",
)


def complete_hosts(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The inventory's hosts that begin so, for `shell_complete=`."""
    from migrate.errors import MigrateError
    from migrate.evacuate.inventory.reading import load, locate

    given = ctx.params.get(param.name or "")
    with contextlib.suppress(MigrateError):
        return [
            CompletionItem(host.name, help=host.address)
            for host in load(locate(ctx.params.get("inventory"))).hosts.values()
            if host.name.startswith(incomplete)
            and not (isinstance(given, tuple) and host.name in given)
        ]
    return []


def host_argument(
    name: str = "target", metavar: str = "NAME|USER@HOST[:PORT]", *, required: bool = True
) -> Callable[[_Function], _Function]:
    """The argument for a host: a name of the inventory, or an address."""
    return click.argument(name, metavar=metavar, required=required, shell_complete=complete_hosts)


def host_of(text: str, inventory: Path | None) -> Host:
    """The host that is meant; raises HostUnknown, TargetInvalid, InventoryBad.

    An address is one, whatever is wrong with the inventory.
    """
    from migrate.evacuate.inventory.hosts import resolve
    from migrate.evacuate.inventory.reading import load_for

    return resolve(text, load_for([text], inventory))


def address_of(text: str) -> str:
    """The address of the inventory's host of that name; else `text`, an alias of ssh's for one.

    Raises InventoryBad for a word that only an inventory could explain, when that can't be read.
    """
    from migrate.evacuate.inventory.hosts import is_address
    from migrate.evacuate.inventory.reading import load, locate

    if is_address(text):
        return text
    host = load(locate()).hosts.get(text)
    return host.address if host and host.address else text


def target_of(text: str, inventory: Path | None) -> Target:
    """Where to connect to; raises UsageError for this very host, and what `host_of` raises."""
    from migrate.errors import UsageError
    from migrate.transfer.target import Target

    host = host_of(text, inventory)
    if not host.address:
        raise UsageError(
            f"'{host.name}' is this very host",
            cause="the inventory says that it is not reached by SSH",
            mend="use the command for this host: 'migrate doctor'",
        )
    return Target.parse(host.address)
