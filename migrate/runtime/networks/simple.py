"""The drivers `none` (a namespace with lo alone) and `host` (the host's own namespace)."""

from __future__ import annotations

from collections.abc import Iterable

from migrate.kernel import netns
from migrate.runtime.networks.driver import Neighbours
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network, Record


class HostNetwork:
    """The container uses the host's interfaces; nothing to make or unmake."""

    own_namespace = False

    def settle(self, wanted: Network, others: Iterable[Record]) -> Network:
        """Nothing is left open."""
        return wanted

    def check(self, network: Network, others: Iterable[Record]) -> None:
        """Nothing can be in the way."""

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Nothing to make."""

    def release(self, own: ContainerPaths, network: Network) -> None:
        """Nothing was held."""

    def hold(self, own: ContainerPaths, network: Network) -> None:
        """The host's traffic is not the container's to hold."""

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """There is no address of its own to stand in for."""
        return None

    def deliver(self, own: ContainerPaths, frames: Iterable[bytes]) -> None:
        """Nothing was taken."""

    def neighbours(self, own: ContainerPaths) -> Neighbours:
        """Nobody's but the host's."""
        return ()

    def teach(self, own: ContainerPaths, network: Network, known: Neighbours) -> None:
        """There is no link of its own."""

    def detach(self, own: ContainerPaths) -> None:
        """Nothing was made."""


class NoNetwork(HostNetwork):
    """A namespace of its own, in which only lo is up."""

    own_namespace = True

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Make the namespace."""
        netns.create(own.netns)

    def detach(self, own: ContainerPaths) -> None:
        """Remove the namespace."""
        netns.delete(own.netns)
