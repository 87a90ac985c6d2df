"""migrate host add, rm, label: the hosts of the inventory."""

from __future__ import annotations

from pathlib import Path

import click

from migrate.cli.hostnames import complete_hosts, host_argument, inventory_option
from migrate.cli.values import label_value


@click.command(epilog="Example: migrate host add web1 root@10.0.0.3 --label zone=a")
@click.argument("name")
@click.argument("address", metavar="USER@HOST[:PORT]")
@click.option(
    "--label", "labels", multiple=True, callback=label_value, metavar="KEY=VALUE",
    help="Set a label; may be repeated.",
)  # fmt: skip
@click.option("--no-check", is_flag=True, help="Enter it without asking it.")
@inventory_option
def add(
    name: str, address: str, labels: dict[str, str], no_check: bool, inventory: Path | None
) -> None:
    """Enter a host into the inventory, if it can be reached and has migrate."""
    from migrate.evacuate.inventory import tomlfile
    from migrate.evacuate.inventory.reading import locate

    place = locate(inventory)
    host = tomlfile.new_host(name, address, labels)
    tomlfile.refuse_to_change(place)
    about = ""
    if not no_check:
        from migrate.evacuate.inventory.asking import ask

        state = ask(host)
        criu = f"CRIU {state.criu}" if state.criu else "no CRIU"
        about = f": {criu}, Linux {state.kernel}, containers: {len(state.guests)}"
    tomlfile.add(place, host)
    click.echo(f"{name} ({host.address}) is in {place.path}{about}")


@click.command(epilog="Example: migrate host rm web1 web2")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_hosts)
@inventory_option
def rm(names: tuple[str, ...], inventory: Path | None) -> None:
    """Take hosts out of the inventory: all of NAMES, or none. The hosts stay as they are."""
    from migrate.evacuate.inventory import tomlfile
    from migrate.evacuate.inventory.reading import locate

    tomlfile.remove(locate(inventory), names)
    for name in dict.fromkeys(names):
        click.echo(name)


@click.command(epilog="Example: migrate host label web1 zone=b rack-")
@host_argument("name", "NAME")
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@inventory_option
def label(name: str, changes: tuple[str, ...], inventory: Path | None) -> None:
    """Set labels of a host (KEY=VALUE), or remove them (KEY-)."""
    from migrate.evacuate.inventory import tomlfile
    from migrate.evacuate.inventory.reading import locate

    labels = dict(change.split("=", 1) for change in changes if "=" in change)
    without = {change[:-1] for change in changes if "=" not in change and change.endswith("-")}
    for change in changes:
        if "=" not in change and change[:-1] not in without:
            raise click.UsageError(f"'{change}' is neither KEY=VALUE nor KEY-")
    if both := labels.keys() & without:
        raise click.UsageError(f"'{min(both)}' is both set and removed")
    tomlfile.check_labels(labels)
    tomlfile.relabel(locate(inventory), name, labels, without)
    click.echo(name)
