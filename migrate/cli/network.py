"""migrate network: networks by name, that containers join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from migrate.cli.names import complete_networks
from migrate.cli.output import print_json, print_table
from migrate.cli.values import label_value

if TYPE_CHECKING:
    from migrate.runtime.networks.definition import Definition
    from migrate.runtime.paths import Paths

_HEAD = ("NAME", "DRIVER", "SUBNET", "GATEWAY", "CONTAINERS")


@click.group()
def network() -> None:
    """Create, list and remove the networks of this host.

    A container of a network moves to hosts that have the same network: of the same name, driver,
    subnets, MTU and VNI.
    """


@network.command(epilog="Example: migrate network create web --subnet 10.89.0.0/24")
@click.argument("name")
@click.option("--driver", type=click.Choice(["bridge", "overlay", "routed"]), default="bridge",
              show_default=True, help="bridge: a link of this host; overlay: one over several "
              "hosts (VXLAN); routed: a route to each container.")  # fmt: skip
@click.option("--subnet", default="", metavar="CIDR", help="Its IPv4 addresses.")
@click.option("--subnet6", default="", metavar="CIDR", help="Its IPv6 addresses (none).")
@click.option("--gateway", default="", metavar="ADDR", help="The containers' default route.")
@click.option("--gateway6", default="", metavar="ADDR", help="The same for IPv6.")
@click.option("--mtu", type=click.IntRange(min=0, max=65535), default=0, metavar="BYTES",
              help="The largest packet.")  # fmt: skip
@click.option("--parent", default="", metavar="IFACE",
              help="This host's way to the other hosts' links: a bridge, or an interface that "
              "becomes a port.")  # fmt: skip
@click.option("--vni", type=click.IntRange(min=1, max=(1 << 24) - 1), metavar="N",
              help="The number of the overlay's segment.")  # fmt: skip
@click.option("--peer", "peers", multiple=True, metavar="HOST", help="Another host of the network.")
@click.option("--option", "options", multiple=True, callback=label_value, metavar="KEY=VALUE",
              help="Something of the driver's own (docs/networks.md).")  # fmt: skip
@click.option("--label", "labels", multiple=True, callback=label_value, metavar="KEY=VALUE",
              help="A label.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def create(as_json: bool, **given: Any) -> None:
    """Make a network on this host, and print its name.

    What is left open is chosen: subnet, gateway, VNI. The command for the other hosts, that makes
    the same network there, is in 'migrate network inspect'.
    """
    from migrate.runtime.networks import administration
    from migrate.runtime.networks.definition import Definition
    from migrate.runtime.paths import Paths

    given["vni"] = given["vni"] or 0
    made = administration.create(Paths.from_environment(), Definition(**given))
    if as_json:
        print_json(_plain(made))
    else:
        click.echo(made.name)


@network.command(epilog="Example: migrate network ls --json")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(quiet: bool, as_json: bool) -> None:
    """List the networks of this host."""
    from migrate.runtime.networks import definition
    from migrate.runtime.paths import Paths

    paths = Paths.from_environment()
    known = [definition.DEFAULT, *definition.load_all(paths)]
    if quiet:
        for entry in known:
            click.echo(entry.name)
        return
    members = {entry.name: _members(paths, entry) for entry in known}
    if as_json:
        print_json([_plain(e) | {"containers": members[e.name]} for e in known])
        return
    rows = [
        (e.name, e.driver, " ".join(filter(None, (e.subnet, e.subnet6))),
         " ".join(filter(None, (e.gateway, e.gateway6))), str(len(members[e.name])))
        for e in known
    ]  # fmt: skip
    print_table(_HEAD, rows)


@network.command(epilog="Example: migrate network inspect web")
@click.argument("name", shell_complete=complete_networks)
@click.option("--json", "as_json", is_flag=True, help="JSON is all that it prints.")
def inspect(name: str, as_json: bool) -> None:
    """Show all that is known of a network, as JSON."""
    from migrate.runtime.networks import definition, leases, underlay
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Network

    paths = Paths.from_environment()
    built_in = name == definition.DEFAULT.name
    found = definition.DEFAULT if built_in else definition.find(paths, name)
    told = {"containers": _members(paths, found), "leases": leases.read(paths, name)}
    if not built_in:
        member = definition.belonging(Network(), found)
        hosts = underlay.everyone(found.peers, found.parent)
        told["elsewhere"] = definition.create_command(member, hosts)
    print_json(_plain(found) | told)


@network.command(epilog="Example: migrate network rm web")
@click.argument("names", nargs=-1, required=True, metavar="NAME...",
                shell_complete=complete_networks)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the removed names as JSON.")
def rm(names: tuple[str, ...], as_json: bool) -> None:
    """Remove networks that no container belongs to."""
    from migrate.errors import MigrateError
    from migrate.runtime.networks import administration
    from migrate.runtime.paths import Paths

    errors: list[MigrateError] = []
    removed = []
    for name in names:
        try:
            administration.remove(Paths.from_environment(), name)
            removed.append(name)
            if not as_json:
                click.echo(name)
        except MigrateError as error:
            errors.append(error)
    if as_json and not errors:
        print_json(removed)
    for later in errors[1:]:
        click.echo(f"error: {later}", err=True)
    if errors:
        raise errors[0]


@network.command(epilog="Example: migrate network sync blue")
@click.argument("names", nargs=-1, required=True, metavar="NAME...",
                shell_complete=complete_networks)  # fmt: skip
def sync(names: tuple[str, ...]) -> None:
    """Ask the other hosts of networks which containers they have, and tell them what is here.

    Hosts tell each other when containers come, go and move; this is for one that did not answer.
    """
    from migrate.move import telling
    from migrate.runtime.errors import NetworkFailed
    from migrate.runtime.paths import Paths

    complaints = [c for name in names for c in telling.sync(Paths.from_environment(), name)]
    if complaints:
        raise NetworkFailed(
            "not every host could be asked", cause="; ".join(complaints),
            mend="try again when they answer",
        )  # fmt: skip


def _plain(found: Definition) -> dict[str, Any]:
    """With its defaults, too: a reader need not know them."""
    import msgspec

    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return plain


def _members(paths: Paths, found: Definition) -> list[dict[str, str]]:
    """The containers of this host that belong to it."""
    from migrate.runtime.networks import definition
    from migrate.runtime.records import load_all

    name = "" if found is definition.DEFAULT else found.name
    return [
        {"name": r.name, "id": r.identifier, "address": r.network.address,
         "address6": r.network.address6}
        for r in load_all(paths)
        if r.network.driver == found.driver and r.network.name == name and not r.moved_to
        and (name or r.network.bridge == "migrate0")
    ]  # fmt: skip
