"""The addresses of a container in its network: those that it brings or wants, or free ones."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import msgspec

from migrate.runtime.errors import AddressTaken, NetworkFailed
from migrate.runtime.networks import leases
from migrate.runtime.networks.definition import DEFAULT, Definition
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network, Record

_MAC = re.compile(r"[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}")  # unicast
_CANDIDATES = 1 << 16
"""Of an IPv6 subnet, no more are looked at."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def random_mac() -> str:
    """A locally administered unicast address (IEEE 802, second bit of the first octet)."""
    return ":".join(f"{octet:02x}" for octet in (0x02, *secrets.token_bytes(5)))


def plain(address: str) -> str:
    """Without its prefix length."""
    return address.partition("/")[0]


def settle(
    own: ContainerPaths, wanted: Network, definition: Definition, others: Iterable[Record],
    answers: Callable[[str], bool] = lambda _: False,
) -> Network:  # fmt: skip
    """Choose the addresses and the MAC that the user did not, and lease them.

    `answers` tells whether somebody outside has an address that is not taken here. Raises
    AddressTaken, NetworkFailed.
    """
    others = list(others)
    taken = {*_taken(others), *leases.read(own.paths, definition.name)}
    if wanted.mac and not _MAC.fullmatch(wanted.mac):
        raise NetworkFailed(f"'{wanted.mac}' is no MAC address", mend="as 02:00:00:00:00:01")
    wanted = msgspec.structs.replace(wanted, mac=wanted.mac or random_mac())
    network = _with_address4(wanted, definition, taken, answers)
    network = _with_address6(network, definition, taken, answers)
    refuse_taken(network, others)
    claim(own, network, definition)
    return network


def claim(own: ContainerPaths, network: Network, definition: Definition) -> None:
    """Lease the container's addresses to it; raises AddressTaken."""
    leases.claim(own, definition.name, (plain(network.address), plain(network.address6)))


def check(network: Network) -> None:
    """Raise NetworkFailed unless addresses, gateways and MAC are such.

    They come from another host or an archive, too.
    """
    _interface(network.address, ipaddress.IPv4Interface)
    _check_gateway(network.gateway, network.address)
    if network.address6:
        _interface(network.address6, ipaddress.IPv6Interface)
        _check_gateway(network.gateway6, network.address6)
    if not _MAC.fullmatch(network.mac):
        raise NetworkFailed(f"'{network.mac}' is no MAC address", mend="as 02:00:00:00:00:01")


def _with_address4(
    wanted: Network, definition: Definition, taken: set[str], answers: Callable[[str], bool]
) -> Network:
    address, gateway = wanted.address, wanted.gateway
    named = definition is not DEFAULT
    if not address:
        address = _free(definition.subnet, definition, taken, answers)
        gateway = gateway or definition.gateway
    elif "/" not in address:
        address += f"/{ipaddress.ip_network(definition.subnet).prefixlen if named else 24}"
    address = _interface(address, ipaddress.IPv4Interface)
    if named:
        _check_in_subnet(address, definition.subnet)
        gateway = gateway or definition.gateway
    _check_gateway(gateway, address)
    return msgspec.structs.replace(wanted, address=address, gateway=gateway)


def _with_address6(
    wanted: Network, definition: Definition, taken: set[str], answers: Callable[[str], bool]
) -> Network:
    address, gateway = wanted.address6, wanted.gateway6
    if not address and definition.subnet6:
        address = _from_mac(wanted.mac, definition.subnet6)
        if not address or plain(address) in taken:
            address = _free(definition.subnet6, definition, taken, answers)
    if not address:
        if gateway:
            raise NetworkFailed(f"the gateway {gateway} has no address beside it", mend="--ip6")
        return wanted
    if "/" not in address:
        subnet = definition.subnet6
        address += f"/{ipaddress.ip_network(subnet).prefixlen if subnet else 64}"
    address = _interface(address, ipaddress.IPv6Interface)
    if definition.subnet6:
        _check_in_subnet(address, definition.subnet6)
        gateway = gateway or definition.gateway6
    elif definition is not DEFAULT:
        raise NetworkFailed(
            f"the network '{definition.name}' has no IPv6 subnet", mend="leave --ip6 away"
        )
    _check_gateway(gateway, address)
    return msgspec.structs.replace(wanted, address6=address, gateway6=gateway)


def _interface(
    address: str, kind: type[ipaddress.IPv4Interface] | type[ipaddress.IPv6Interface]
) -> str:
    try:
        found = kind(address)
    except ValueError as error:
        example = "10.77.0.50/24" if kind is ipaddress.IPv4Interface else "fd00:77::50/64"
        raise NetworkFailed(
            f"'{address}' is no address", cause=str(error), mend=f"give it as {example}"
        ) from error
    of_the_link = found.version == 6 and found.is_link_local
    if found.is_multicast or found.is_loopback or found.is_unspecified or of_the_link:
        raise NetworkFailed(f"{address} can't be a container's address")
    return str(found)


def _check_in_subnet(address: str, subnet: str) -> None:
    network = ipaddress.ip_network(subnet)
    interface = ipaddress.ip_interface(address)
    if interface.ip not in network or interface.network.prefixlen != network.prefixlen:
        raise NetworkFailed(
            f"{address} is no address of the network's subnet {subnet}",
            mend="choose one of the subnet, or leave it to migrate",
        )


def _check_gateway(gateway: str, address: str) -> None:
    """A default route needs a neighbour: raise NetworkFailed for one outside the subnet."""
    if not gateway:
        return
    try:
        reachable = ipaddress.ip_address(gateway) in ipaddress.ip_interface(address).network
    except ValueError:
        reachable = False
    if not reachable:
        raise NetworkFailed(
            f"the gateway {gateway} can't be reached from {address}",
            cause="it is not in the address's subnet", mend="mend --gateway or the prefix length",
        )  # fmt: skip


def _taken(others: Iterable[Record]) -> dict[str, str]:
    """Names of containers by address."""
    return {
        plain(address): record.name
        for record in others
        for address in (record.network.address, record.network.address6)
        if address and not record.moved_to
    }


def refuse_taken(network: Network, others: Iterable[Record]) -> None:
    """Raise AddressTaken if a container of this host has one of its addresses."""
    taken = _taken(others)
    for address in (plain(network.address), plain(network.address6)):
        if address and address in taken:
            raise AddressTaken(
                f"the address {address} is taken",
                cause=f"container '{taken[address]}' on this host has it",
            )


def _from_mac(mac: str, subnet: str) -> str:
    """The address of that MAC (RFC 4291, appendix A), "" where the subnet is too small for it.

    Hosts that share a link need not agree on who hands out what: the MACs are random.
    """
    network = ipaddress.IPv6Network(subnet)
    if network.prefixlen > 64:
        return ""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 0x02
    interface = int.from_bytes(octets[:3] + b"\xff\xfe" + octets[3:], "big")
    return f"{network[interface]}/{network.prefixlen}"


def _free(
    subnet: str, definition: Definition, taken: set[str], answers: Callable[[str], bool]
) -> str:
    network = ipaddress.ip_network(subnet)
    kept = {definition.gateway, definition.gateway6}
    for candidate in _candidates(network, definition.options.get("range", "")):
        text = str(candidate)
        if text not in taken and text not in kept and not answers(text):
            return f"{text}/{network.prefixlen}"
    raise AddressTaken(
        f"no address of {subnet} is free",
        mend="remove containers that are not needed, or make a network with a larger --subnet",
    )


def _candidates(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, chosen: str
) -> Iterator[Address]:
    """The usable addresses, of the part that the option `range` names where it is of this kind."""
    part = network
    if chosen and (named := ipaddress.ip_network(chosen)).version == network.version:
        part = named
    hosts: Iterable[Address] = chain(part) if part != network else network.hosts()
    for number, candidate in enumerate(hosts):
        if number == _CANDIDATES:
            return
        if candidate not in {network.network_address, network.broadcast_address}:
            yield candidate
