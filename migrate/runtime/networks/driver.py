"""What a network driver does for a container, in the order in which a move needs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network, Record

Neighbours = tuple[tuple[str, str], ...]
"""Pairs of IPv4 address and MAC."""


class Driver(Protocol):
    """A kind of network. The namespace is made before, and outlives, the container's processes."""

    own_namespace: bool

    def settle(self, wanted: Network, others: Iterable[Record]) -> Network:
        """`wanted` with what was left open (address, MAC) chosen; raises AddressTaken."""

    def check(self, network: Network, others: Iterable[Record]) -> None:
        """Raise what would stop `attach` on this host; changes nothing."""

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Make the namespace with its interfaces, held: no packet passes until `release`."""

    def release(self, own: ContainerPaths, network: Network) -> None:
        """Let packets pass, and tell the neighbours where the address is now."""

    def hold(self, own: ContainerPaths, network: Network) -> None:
        """Let no packet pass: nothing answers for the address while the container is frozen."""

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """What takes the container's packets while it is held; None where there is nothing."""

    def deliver(self, own: ContainerPaths, frames: Iterable[bytes]) -> None:
        """Hand it what came meanwhile; frames that can't be delivered are lost."""

    def neighbours(self, own: ContainerPaths) -> Neighbours:
        """Whom the container knows on its link, to be taught where it goes."""

    def teach(self, own: ContainerPaths, network: Network, known: Neighbours) -> None:
        """Let a restored container know its neighbours: it need not ask before its first answer."""

    def detach(self, own: ContainerPaths) -> None:
        """Unmake all that `attach` made; no error when it is gone already."""
