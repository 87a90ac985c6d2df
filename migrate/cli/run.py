"""migrate run and create: a container from an image, a root file system or a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli import userns
from migrate.cli.names import complete_networks
from migrate.cli.values import (
    Rate,
    Size,
    environment_value,
    label_value,
    port_value,
    restart_value,
    volume_value,
)
from migrate.runtime.detachkeys import DEFAULT

if TYPE_CHECKING:
    from migrate.runtime.records import Network
    from migrate.runtime.request import Request

_OF_THE_NETWORK = ("bridge", "address", "address6", "mac", "gateway", "gateway6", "ports",
                   "rate_in", "rate_out")  # fmt: skip
_SETTINGS = {"ignore_unknown_options": False, "allow_interspersed_args": False}
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--name", default="", help="Its name; its id if not given."),
    click.option("--rootfs", type=_DIRECTORY, help="Run on this directory, which stays as it is."),
    click.option("--bundle", type=_DIRECTORY, help="Run an OCI bundle (config.json) as it is."),
    click.option("--entrypoint", help="Instead of the image's own; '' for none."),
    click.option("-e", "--env", "environment", multiple=True, callback=environment_value,
                 metavar="KEY=VALUE", help="Set a variable; KEY alone takes the caller's value."),
    click.option("-w", "--workdir", "directory", default="", help="Its working directory."),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]",
                 help="Names of its own /etc/passwd and /etc/group, or numbers."),
    click.option("-v", "--volume", "binds", multiple=True, callback=volume_value,
                 metavar="SRC:DST[:ro,idmap]", help="Mount a path of this host, or a volume."),
    click.option("--network", "network_name", default="none", metavar="none|host|bridge|NAME",
                 shell_complete=complete_networks,
                 help="Its network: one of 'migrate network ls' (none)."),
    click.option("--bridge", default="", help="A port of this bridge, with --network bridge."),
    click.option("--ip", "address", default="", metavar="ADDR[/PREFIX]", help="Its own address."),
    click.option("--ip6", "address6", default="", metavar="ADDR[/PREFIX]",
                 help="Its own IPv6 address."),
    click.option("--mac", default="", help="Its own MAC address."),
    click.option("--gateway", default="", metavar="ADDR", help="Its default route."),
    click.option("--gateway6", default="", metavar="ADDR", help="Its default IPv6 route."),
    click.option("-p", "--publish", "ports", multiple=True, callback=port_value,
                 metavar="[IP:]HOST:CONTAINER[/udp]",
                 help="Let a port of the host lead to one of the container's."),
    click.option("--rate-in", type=Rate(), default=0, metavar="RATE",
                 help="What it may receive, in bits a second, as 100m."),
    click.option("--rate-out", type=Rate(), default=0, metavar="RATE",
                 help="What it may send, in bits a second."),
    click.option("-m", "--memory", type=Size(), default=0, metavar="SIZE",
                 help="Memory limit, as 512m or 1g."),
    click.option("--cpus", type=click.FloatRange(min=0.01), default=None, metavar="N",
                 help="CPU limit in cores, as 0.5."),
    click.option("--pids-limit", "pids", type=click.IntRange(min=1), default=None, metavar="N",
                 help="Limit of processes and threads."),
    click.option("--cap-add", "add_capabilities", multiple=True, metavar="CAP",
                 help="Give it one more capability, or ALL."),
    click.option("--cap-drop", "drop_capabilities", multiple=True, metavar="CAP",
                 help="Take a capability from it, or ALL."),
    *userns.OPTIONS,
    click.option("--read-only", is_flag=True, help="Make its root file system read-only."),
    click.option("--hostname", "host_name", default="", help="Its host name (its id)."),
    click.option("--label", "labels", multiple=True, callback=label_value, metavar="KEY=VALUE",
                 help="A label; it goes with the container."),
    click.option("--restart", default="no", callback=restart_value, metavar="POLICY",
                 help="Start it again when it ends: no, on-failure[:N], always (no)."),
    click.option("--log-max-size", type=Size(), default=0, metavar="SIZE",
                 help="Begin a new log file when one is so large (never)."),
    click.option("--log-max-files", type=click.IntRange(min=1), default=3, metavar="N",
                 help="Log files to keep, with --log-max-size (3)."),
    click.option("-i", "--interactive", is_flag=True, help="Keep its standard input open."),
    click.option("-t", "--tty", "terminal", is_flag=True, help="Give it a terminal."),
    click.option("--stop-signal", default="", metavar="SIGNAL", help="What 'stop' sends (TERM)."),
    click.argument("words", nargs=-1, metavar="[IMAGE] [PROGRAM [ARGS...]]"),
)  # fmt: skip


def _container_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(context_settings=_SETTINGS)
@_container_options
def create(**given: Any) -> None:
    """Create a container that waits for 'migrate start', and print its id.

    \b
    Example: migrate create --name web --rootfs /srv/rootfs httpd -f
    """
    from migrate.cli.peers import tell_come
    from migrate.runtime.paths import Paths
    from migrate.runtime.request import make

    paths = Paths.from_environment()
    record = make(paths, _request(given))
    tell_come(paths, record)
    click.echo(record.identifier)


@click.command(context_settings=_SETTINGS)
@click.option("-d", "--detach", is_flag=True, help="Leave it running, and print its id.")
@click.option("--rm", "remove_at_exit", is_flag=True, help="Remove it when it has ended.")
@click.option("--detach-keys", "keys", default=DEFAULT, show_default=True, metavar="KEYS",
              help="Leave a terminal's container running, and end; '' for none.")  # fmt: skip
@_container_options
def run(detach: bool, keys: str, **given: Any) -> int:
    """Create a container and start it.

    In the foreground its output is shown and its exit status is the command's; SIGINT and SIGTERM
    are passed on, the second kills. With -i what is typed goes to it, with -t it has a terminal;
    'migrate attach' is the way back to it.

    \b
    Examples: migrate run --rm --rootfs /srv/rootfs echo hello
              migrate run -d --name db -v data:/data --network bridge redis:7
              migrate run --rm -it IMAGE sh
    """
    from migrate.cli.peers import tell_come
    from migrate.runtime.detachkeys import parse
    from migrate.runtime.lifecycle.delete import delete
    from migrate.runtime.lifecycle.start import start
    from migrate.runtime.paths import Paths
    from migrate.runtime.request import make

    detach_keys = parse(keys)
    paths = Paths.from_environment()
    if given["restart"] and (given["remove_at_exit"] or not detach):
        raise click.UsageError("--restart needs -d, and excludes --rm")
    record = make(paths, _request(given))
    if detach:
        try:
            start(paths, record)
        except BaseException:
            delete(paths, record, force=True)
            raise
        tell_come(paths, record)
        click.echo(record.identifier)
        return 0
    tell_come(paths, record)
    from migrate.cli.foreground import run_attached

    return run_attached(paths, record, detach_keys)


def _request(given: dict[str, Any]) -> Request:
    """The request in the options; raises UsageError where they do not fit together."""
    from migrate.runtime.records import Resources
    from migrate.runtime.request import Request

    words = given.pop("words")
    rootfs, bundle = given["rootfs"], given["bundle"]
    image = ""
    if rootfs and bundle:
        raise click.UsageError("--rootfs and --bundle exclude each other")
    if not rootfs and not bundle:
        if not words:
            raise click.UsageError("give an IMAGE, --rootfs DIR or --bundle DIR")
        image, *words = words
    network = _network(given)
    resources = Resources(
        memory=given.pop("memory"), cpus=given.pop("cpus") or 0.0, pids=given.pop("pids") or 0
    )
    user_namespace, ids_to_choose = userns.take(given)
    request = Request(
        image=image, arguments=tuple(words), network=network, resources=resources,
        user_namespace=user_namespace, ids_to_choose=ids_to_choose, **given
    )  # fmt: skip
    _check_bundle(request)
    return request


def _network(given: dict[str, Any]) -> Network:
    """The network in the options; raises UsageError, NetworkUnknown."""
    from migrate.runtime.networks import definition
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Network

    name = given.pop("network_name")
    wanted = Network(**{key: given.pop(key) for key in _OF_THE_NETWORK})
    if name in {"none", "host"}:
        if wanted != Network():
            raise click.UsageError(f"with --network {name} it has no address of its own")
        return Network(driver=name)
    if name == "bridge":
        return Network(**_fields(wanted) | {"driver": "bridge"})
    if wanted.bridge:
        raise click.UsageError("--bridge is for --network bridge: a network has its own")
    found = definition.find(Paths.from_environment(), name)
    return Network(**_fields(wanted) | {"driver": found.driver, "name": name})


def _fields(network: Network) -> dict[str, Any]:
    return {name: getattr(network, name) for name in network.__struct_fields__}


def _check_bundle(request: Request) -> None:
    if not request.bundle:
        return
    kept = (
        request.arguments, request.environment, request.directory, request.user, request.binds,
        request.entrypoint, request.add_capabilities, request.drop_capabilities,
        request.read_only, request.host_name, request.user_namespace, request.ids_to_choose,
    )  # fmt: skip
    if any(kept):
        raise click.UsageError(
            "a bundle is kept as it is: its config.json says program, environment, directory, user,"
            " mounts, capabilities, namespaces and host name"
        )
