"""A named network of this host: what it is, kept on disk, and found by its name.

Networks of one name on several hosts are one network if driver, subnets, VNI and MTU are the same:
containers move between them. All else (parent, peers, options, labels) is each host's own business.
"""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Annotated

import msgspec

from migrate.kernel.files import fsync_directory, write_atomically
from migrate.runtime import records
from migrate.runtime.errors import NameTaken, NetworkFailed, NetworkInUse, NetworkUnknown
from migrate.runtime.paths import Paths
from migrate.runtime.records import NAME_PATTERN, Network, Record

BUILT_IN = ("none", "host", "bridge")
"""Names that `run --network` has understood before there were networks by name."""
OVER_HOSTS = ("overlay", "routed")
"""Drivers whose networks are over several hosts."""
SIZE_LIMIT = 1 << 20
MTU_LEAST, MTU_MOST = 576, 65535  # RFC 791, 3.1; IPv6 needs 1280 (RFC 8200, 5)
_LEAST_MTU6 = 1280
_SUFFIX = ".json"
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network. Subnets in CIDR notation, addresses without prefix length, `mtu` in bytes.

    "" and 0 mean: not told, and left to the driver.
    """

    name: str
    driver: str
    subnet: str = ""
    subnet6: str = ""
    gateway: str = ""
    gateway6: str = ""
    mtu: Annotated[int, msgspec.Meta(ge=0, le=MTU_MOST)] = 0
    parent: str = ""  # an interface of this host
    vni: Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)] = 0
    peers: tuple[str, ...] = ()  # the other hosts, as the driver understands them
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    created: float = 0.0  # seconds since the epoch


DEFAULT = Definition("bridge", "bridge", "10.88.0.0/16", gateway="10.88.0.1")
"""The network of `run --network bridge`: it is always there, and made when it is first used."""


def check(wanted: Definition, known: Iterable[Definition]) -> None:
    """Raise what stands against it whatever the driver is: NameTaken, NetworkFailed."""
    _check_name(wanted.name)
    if wanted.name in BUILT_IN:
        raise NameTaken(
            f"'{wanted.name}' can't be a network's name", cause="migrate has a network of that name"
        )
    if wanted.mtu and wanted.mtu < (_LEAST_MTU6 if wanted.subnet6 else MTU_LEAST):
        raise NetworkFailed(f"an MTU of {wanted.mtu} is too small", mend="give 1280 or more")
    for other in (DEFAULT, *known):
        if other.name == wanted.name:
            raise NameTaken(f"there is a network '{wanted.name}' already")
        _refuse_overlap(wanted, other)
    for subnet, gateway, kind in (
        (wanted.subnet, wanted.gateway, ipaddress.IPv4Network),
        (wanted.subnet6, wanted.gateway6, ipaddress.IPv6Network),
    ):
        _check_subnet(subnet, gateway, kind)


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise NetworkFailed(
            f"'{name}' can't be a network's name",
            cause="a name has letters, digits, '_', '.' and '-', and starts with a letter or digit",
            mend="choose another name",
        )


def _check_subnet(
    subnet: str, gateway: str, kind: type[ipaddress.IPv4Network] | type[ipaddress.IPv6Network]
) -> None:
    if not subnet:
        if gateway:
            raise NetworkFailed(
                f"the gateway {gateway} has no subnet", mend="give --subnet (or --subnet6), too"
            )
        return
    try:
        network = kind(subnet)
    except ValueError as error:
        raise NetworkFailed(
            f"'{subnet}' is no subnet", cause=str(error), mend="as 10.89.0.0/24 or fd00:89::/64"
        ) from error
    if network.num_addresses < 4 or network.is_multicast or network.is_loopback:
        raise NetworkFailed(
            f"the subnet {subnet} can't hold containers", mend="give another one, /30 or larger"
        )
    try:
        inside = not gateway or ipaddress.ip_address(gateway) in network
    except ValueError:
        inside = False
    if not inside:
        raise NetworkFailed(
            f"the gateway {gateway} is not in {subnet}", mend="give an address of the subnet"
        )


def check_range(wanted: Definition) -> None:
    """Raise NetworkFailed where the option `range` names no part of a subnet."""
    text = wanted.options.get("range", "")
    if not text:
        return
    try:
        part = ipaddress.ip_network(text)
    except ValueError as error:
        raise NetworkFailed(
            f"'{text}' is no range", cause=str(error), mend="as range=10.89.0.128/25"
        ) from error
    for subnet in (wanted.subnet, wanted.subnet6):
        if subnet and _holds(ipaddress.ip_network(subnet), part):
            return
    raise NetworkFailed(f"the range {text} is in no subnet of the network")


def _holds(subnet: Subnet, part: Subnet) -> bool:
    return subnet.version == part.version and (
        subnet.network_address <= part.network_address  # type: ignore[operator]
        and part.broadcast_address <= subnet.broadcast_address  # type: ignore[operator]
    )


def with_gateways(wanted: Definition) -> Definition:
    """The first address of each subnet is the gateway where the user has told none."""
    chosen = {}
    for subnet, key in ((wanted.subnet, "gateway"), (wanted.subnet6, "gateway6")):
        if subnet and not getattr(wanted, key):
            chosen[key] = str(ipaddress.ip_network(subnet)[1])
    return msgspec.structs.replace(wanted, **chosen)


def _refuse_overlap(wanted: Definition, other: Definition) -> None:
    for mine, its in ((wanted.subnet, other.subnet), (wanted.subnet6, other.subnet6)):
        with contextlib.suppress(ValueError, TypeError):
            if mine and its and _overlap(mine, its):
                raise NetworkFailed(
                    f"the subnet {mine} overlaps {its} of the network '{other.name}'",
                    mend="choose another --subnet",
                )


def _overlap(mine: str, its: str) -> bool:
    first, second = ipaddress.ip_network(mine), ipaddress.ip_network(its)
    return first.version == second.version and (
        int(first.network_address) <= int(second.broadcast_address)
        and int(second.network_address) <= int(first.broadcast_address)
    )


def load_all(paths: Paths) -> list[Definition]:
    """The networks of this host, by name; raises NetworkFailed for a file that can't be read."""
    found = []
    for path in sorted(paths.networks.glob(f"[!.]*{_SUFFIX}")):
        if definition := _read(paths, path.name.removesuffix(_SUFFIX)):
            found.append(definition)
    return found


def _read(paths: Paths, name: str) -> Definition | None:
    path = paths.networks / f"{name}{_SUFFIX}"
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT)
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(data, type=Definition)
    except msgspec.DecodeError as error:
        raise NetworkFailed(
            f"the network '{name}' can't be read", cause=f"{path}: {error}",
            mend=f"remove it with 'migrate network rm {name}', and create it again",
        ) from error  # fmt: skip
    return msgspec.structs.replace(found, name=name)


def find(paths: Paths, name: str) -> Definition:
    """The network of that name; raises NetworkUnknown, NetworkFailed."""
    found = _read(paths, name) if NAME_PATTERN.fullmatch(name) else None
    if found is None:
        raise NetworkUnknown(f"there is no network '{name}' on this host")
    return found


def require(paths: Paths, network: Network) -> Definition:
    """This host's network to which a container belongs that comes with `network`.

    Raises NetworkUnknown where it has none of that name, or another one; the mend is the command
    that makes it.
    """
    try:
        found = find(paths, network.name)
    except NetworkUnknown as error:
        raise NetworkUnknown(
            error.what, cause="the container belongs to it",
            mend=f"make it there: {create_command(network)}",
        ) from error  # fmt: skip
    if differing := differences(found, network):
        raise NetworkUnknown(
            f"the network '{network.name}' is another one on this host",
            cause=f"here it has {', '.join(differing)}",
            mend=f"remove it there, and make the same: {create_command(network)}",
        )
    return found


def differences(definition: Definition, network: Network) -> list[str]:
    """What this host's network has other than the one that a container belongs to, in words."""
    pairs = (
        ("driver", definition.driver, network.driver),
        ("subnet", definition.subnet, network.subnet),
        ("subnet6", definition.subnet6, network.subnet6),
        ("mtu", definition.mtu, network.mtu),
        ("vni", definition.vni, network.vni),
    )
    return [
        f"{what} {has or 'none'}, not {its or 'none'}" for what, has, its in pairs if has != its
    ]


def likeness(network: Network) -> str:
    """What the networks of one name must have alike on all hosts, in one line."""
    parts = [f"driver {network.driver}"]
    for what in ("subnet", "subnet6", "mtu", "vni"):
        value = getattr(network, what)
        parts += [f"{what} {value}"] if value else []
    return ", ".join(parts) if network.name else ""


def create_command(network: Network, peers: Iterable[str] = ()) -> str:
    """The command that makes the network of a container's record on another host.

    Where it must name hosts, and `peers` does not, it says so.
    """
    words = ["migrate", "network", "create", network.name, "--driver", network.driver]
    for option, value in (
        ("--subnet", network.subnet), ("--subnet6", network.subnet6),
        ("--mtu", network.mtu), ("--vni", network.vni),
    ):  # fmt: skip
        words += [option, str(value)] if value else []
    for peer in peers:
        words += ["--peer", peer]
    lacking = network.driver in OVER_HOSTS and "--peer" not in words
    return shlex.join(words) + (" --peer ADDRESS (one for each host of it)" if lacking else "")


def belonging(wanted: Network, definition: Definition) -> Network:
    """`wanted` as a member of the network."""
    return msgspec.structs.replace(
        wanted, name=definition.name, driver=definition.driver, subnet=definition.subnet,
        subnet6=definition.subnet6, mtu=definition.mtu, vni=definition.vni,
    )  # fmt: skip


def save(paths: Paths, definition: Definition) -> None:
    """Write it durably."""
    paths.networks.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(definition))
    write_atomically(paths.networks / f"{definition.name}{_SUFFIX}", data)


def remove(paths: Paths, name: str) -> None:
    """Forget it; no error when it is gone."""
    for suffix in (_SUFFIX, ".leases", ".names"):
        (paths.networks / f"{name}{suffix}").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        fsync_directory(paths.networks)


def users(name: str, known: Iterable[Record]) -> list[str]:
    """The names of the containers of this host that belong to it."""
    return [r.name for r in known if r.network.name == name and not r.moved_to]


def refuse_used(name: str, known: Iterable[Record]) -> None:
    """Raise NetworkInUse while containers belong to it."""
    if using := users(name, known):
        raise NetworkInUse(f"the network '{name}' is in use", cause=f"by {', '.join(using[:10])}")


def locked(paths: Paths, purpose: str) -> AbstractContextManager[None]:
    """Held while networks are made or removed, or a container's record is registered."""
    return records.locked(paths.container("registration"), purpose, wait=30)
