"""The drivers `none` (a namespace with lo alone) and `host` (the host's own namespace)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from migrate.kernel import netns
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks.driver import Neighbours
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record
from migrate.runtime.usernamespaces import make_network_namespace

if TYPE_CHECKING:
    from migrate.runtime.networks.definition import Definition


class HostNetwork:
    """The container uses the host's interfaces; nothing to make or unmake."""

    own_namespace = False

    def define(self, wanted: Definition, known: Sequence[Definition]) -> Definition:
        """There is one of it, which is always there."""
        raise NetworkFailed(
            f"no networks can be made of the driver '{wanted.driver}'",
            mend="choose --driver bridge, overlay or routed",
        )

    def set_up(self, paths: Paths, definition: Definition) -> None:
        """Nothing to make."""

    def tear_down(self, paths: Paths, definition: Definition) -> None:
        """Nothing was made."""

    def settle(self, own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
        """Nothing is left open."""
        return wanted

    def check(self, own: ContainerPaths, network: Network, others: Iterable[Record]) -> None:
        """Nothing can be in the way."""

    def claim(self, own: ContainerPaths, network: Network) -> None:
        """There is no address of its own."""

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

    def forget(self, own: ContainerPaths, network: Network) -> None:
        """It had no address of its own."""


class NoNetwork(HostNetwork):
    """A namespace of its own, in which only lo is up."""

    own_namespace = True

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Make the namespace."""
        make_network_namespace(own)

    def detach(self, own: ContainerPaths) -> None:
        """Remove the namespace."""
        netns.delete(own.netns)
