"""What a host asks before it takes a container with an address, whatever the network's driver."""

from __future__ import annotations

from collections.abc import Iterable

from migrate.runtime.networks import addresses, ports
from migrate.runtime.networks.definition import Definition
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network, Record, load_all


def check(network: Network, others: Iterable[Record]) -> None:
    """Its addresses and published ports are free; raises AddressTaken, PortTaken, SpecInvalid."""
    others = list(others)
    if network.address:
        addresses.check(network)
        addresses.refuse_taken(network, others)
    ports.check(network, others)


def claim(own: ContainerPaths, network: Network, definition: Definition) -> None:
    """Enter it in the leases of its network; its ports once more. Raises as `check`."""
    addresses.check(network)
    ports.check(network, [r for r in load_all(own.paths) if r.identifier != own.identifier])
    addresses.claim(own, network, definition)
