"""What the drivers of networks over several hosts have in common: the wish, and the addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from migrate.runtime.errors import AddressTaken, NetworkFailed
from migrate.runtime.networks import addresses, definition, ports, whereabouts
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.whereabouts import addresses_of
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record


def check(wanted: Definition, options: Sequence[str]) -> None:
    """Raise NetworkFailed for a wish that can't be one network on all its hosts."""
    _refuse_unknown_options(wanted, options)
    _require_subnet(wanted)
    _check_peers(wanted)
    definition.check_range(wanted)
    _check_nat(wanted)


def settle(own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
    """`wanted` with addresses that no container has, here or elsewhere; raises AddressTaken."""
    found = definition.find(own.paths, wanted.name)
    elsewhere = _elsewhere_taken(own.paths, found, wanted)
    others = list(others)
    settled = addresses.settle(
        own, definition.belonging(wanted, found), found, others, elsewhere.__contains__
    )
    ports.check(settled, others)
    return settled


def _elsewhere_taken(paths: Paths, definition: Definition, wanted: Network) -> set[str]:
    """The addresses of other hosts' containers; raises AddressTaken if one of them is wanted."""
    taken = {a for at in whereabouts.known(paths, definition.name) for a in at.addresses}
    for address in addresses_of(wanted):
        if address in taken:
            there = whereabouts.holder(paths, definition.name, address)
            host = there.host if there else "another host"
            raise AddressTaken(f"the address {address} is taken", cause=f"by a container at {host}")
    return taken


def _refuse_unknown_options(wanted: Definition, there_are: Sequence[str]) -> None:
    """Raises NetworkFailed."""
    if unknown := sorted(set(wanted.options) - set(there_are)):
        raise NetworkFailed(
            f"the driver {wanted.driver} has no option '{unknown[0]}'",
            mend=f"it has {', '.join(there_are)}",
        )


def _check_nat(wanted: Definition) -> None:
    """Raises NetworkFailed."""
    if wanted.options.get("nat", "on") not in {"on", "off"}:
        raise NetworkFailed("the option nat is 'on' or 'off'", mend="--option nat=off")


def _require_subnet(wanted: Definition) -> None:
    """Raises NetworkFailed: hosts that chose one each would not have the same network."""
    if not wanted.subnet:
        raise NetworkFailed(
            f"with the driver {wanted.driver}, the subnet must be told",
            cause="the network is the same on all its hosts", mend="as --subnet 10.99.0.0/16",
        )  # fmt: skip


def _check_peers(wanted: Definition) -> None:
    """Raise NetworkFailed unless every peer is an address of one kind."""
    try:
        versions = {ipaddress.ip_address(peer).version for peer in wanted.peers}
    except ValueError as error:
        raise NetworkFailed(
            "a peer is told by its address", cause=str(error), mend="as --peer 10.77.0.3"
        ) from error
    if len(versions) > 1:
        raise NetworkFailed("some peers have IPv4 addresses, and some IPv6")
    if not wanted.peers and not wanted.parent:
        raise NetworkFailed(
            f"a network of the driver {wanted.driver} has other hosts",
            mend="give their addresses: --peer ADDRESS, for each; this host's may be among them",
        )
