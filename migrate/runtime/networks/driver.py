"""What a network driver does for a container, in the order in which a move needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record

if TYPE_CHECKING:
    from migrate.runtime.networks.definition import Definition
    from migrate.runtime.networks.whereabouts import Change

Neighbours = tuple[tuple[str, str], ...]
"""Pairs of address (IPv4 or IPv6) and MAC."""


class Driver(Protocol):
    """A kind of network. The namespace is made before, and outlives, the container's processes.

    Where a container belongs to a network by name, `definition.require` finds it. In the pause are
    `hold`, `release` and `deliver` alone: they start, import and ask for nothing.
    """

    own_namespace: bool

    def define(self, wanted: Definition, known: Sequence[Definition]) -> Definition:
        """`wanted` with what was left open (subnets, gateways, VNI) chosen; changes nothing.

        `known` are this host's networks. Raises NetworkFailed.
        """

    def set_up(self, paths: Paths, definition: Definition) -> None:
        """Make what the host itself has of the network; nothing is changed where it is there.

        Called by `network create`, and by `attach`: a reboot takes it all away.
        """

    def tear_down(self, paths: Paths, definition: Definition) -> None:
        """Unmake all that `set_up` made; no error when it is gone already."""

    def settle(self, own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
        """`wanted` with what was left open (addresses, MAC) chosen, and the addresses leased.

        Raises AddressTaken, PortTaken, NetworkFailed, NetworkUnknown. The caller holds the lock
        `registration`, and saves the record before it gives it back.
        """

    def check(self, own: ContainerPaths, network: Network, others: Iterable[Record]) -> None:
        """Raise what would stop `claim` or `attach` on this host; changes nothing.

        A network whose `address` is "" comes with a move that wants new ones: `settle` follows.
        """

    def claim(self, own: ContainerPaths, network: Network) -> None:
        """Lease the addresses of a container that comes with them; raises AddressTaken.

        The caller holds the lock `registration`, as for `settle`.
        """

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

    def forget(self, own: ContainerPaths, network: Network) -> None:
        """The container is gone from this host for good: its addresses are free here."""


class Spanning(Driver, Protocol):
    """A driver whose networks are over several hosts, which tell each other what they have."""

    def enter(self, paths: Paths, definition: Definition, change: Change) -> None:
        """Enter in the kernel what has changed at other hosts; raises OSError, NetworkFailed."""
