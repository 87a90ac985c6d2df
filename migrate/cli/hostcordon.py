"""migrate host cordon and uncordon: whether a host takes containers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.hostnames import host_argument, inventory_option

if TYPE_CHECKING:
    from migrate.evacuate.inventory.hosts import Host

_OPTIONAL = "[NAME|USER@HOST[:PORT]]"


@click.command(epilog="Example: migrate host cordon web1 --why 'new disks on Friday'")
@host_argument("target", _OPTIONAL, required=False)
@click.option("--why", default="", metavar="TEXT", help="What it is cordoned for; others see it.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@inventory_option
def cordon(target: str | None, why: str, as_json: bool, inventory: Path | None) -> None:
    """Let a host take no containers until 'migrate host uncordon', over reboots too.

    Without a host: this one. What runs there goes on, can be stopped, and can be moved away; run,
    create, start, restore and moves to it are refused.
    """
    from migrate.evacuate.inventory.asking import set_cordon

    host = _host(target, inventory)
    made = set_cordon(host, by=_whoami(), why=why)
    if as_json:
        from migrate.cli.output import print_json

        print_json({"host": host.name, "cordoned": True, "by": made.by, "since": made.since,
                    "why": made.why})  # fmt: skip
    else:
        click.echo(f"{host.name} is cordoned {made}")


@click.command(epilog="Example: migrate host uncordon web1")
@host_argument("target", _OPTIONAL, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@inventory_option
def uncordon(target: str | None, as_json: bool, inventory: Path | None) -> None:
    """Let a host take containers again. Without a host: this one."""
    from migrate.evacuate.inventory.asking import lift_cordon

    host = _host(target, inventory)
    lifted = lift_cordon(host)
    if as_json:
        from migrate.cli.output import print_json

        print_json({"host": host.name, "cordoned": False, "was_cordoned": lifted})
    else:
        click.echo(f"{host.name} takes containers{' again' if lifted else ': it did before'}")


def _host(target: str | None, inventory: Path | None) -> Host:
    from migrate.cli.hostnames import host_of
    from migrate.evacuate.inventory.hosts import this_host

    return host_of(target, inventory) if target else this_host()


def _whoami() -> str:
    """Who gives this command, for others to ask."""
    import getpass
    import os
    import platform

    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{platform.node()}"
