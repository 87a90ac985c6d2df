"""The driver `routed`: layer 3 alone, a route to each container, no bridge and no tunnel.

The hosts forward. Each has a route to its own containers by their links, and to all others by the
hosts that have them (`whereabouts`): the hosts must be on one link. Routes carry protocol numbers
of ours, by which a routing daemon can tell and export them.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Sequence

import msgspec

from migrate.kernel import interfaces, netns, rtnetlink
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks import (
    claims,
    definition,
    leases,
    routedlink,
    shaping,
    spanned,
    translation,
    underlay,
    whereabouts,
)
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.device import port_of
from migrate.runtime.networks.driver import Neighbours
from migrate.runtime.networks.routedlink import HELD, unless_done
from migrate.runtime.networks.routedstandin import RoutedStandIn, Routes
from migrate.runtime.networks.standin import StandIn, deliver
from migrate.runtime.networks.whereabouts import Change, Located, addresses_of
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record
from migrate.runtime.usernamespaces import make_network_namespace

OPTIONS = ("nat", "range")


class Routed:
    """The addresses belong to the container and go with it; so does its MAC, seen by one host."""

    own_namespace = True

    def define(self, wanted: Definition, known: Sequence[Definition]) -> Definition:
        """The MTU, where it was not told."""
        spanned.check(wanted, OPTIONS)
        if wanted.vni or wanted.gateway or wanted.gateway6:
            raise NetworkFailed(
                "--vni, --gateway and --gateway6 are not for the driver routed",
                cause=f"its gateway is {routedlink.GATEWAY} on every host",
            )
        place = underlay.find(wanted.peers, wanted.parent)
        return msgspec.structs.replace(wanted, mtu=wanted.mtu or place.mtu)

    def set_up(self, paths: Paths, definition: Definition) -> None:
        """What the host needs to forward, and the routes to all other hosts' containers."""
        place = underlay.find(definition.peers, definition.parent)
        routedlink.forward(place.interface)
        routedlink.make_held_bridge()
        if definition.options.get("nat", "off") == "on":
            translation.masquerade(paths, definition, HELD)
        routes = Routes(place.interface)
        known = whereabouts.known(paths, definition.name)
        for located in whereabouts.without_own(paths, known):
            _lead_to(routes, located)

    def tear_down(self, paths: Paths, definition: Definition) -> None:
        """The routes, and what was known; forwarding stays as it is."""
        for located in whereabouts.known(paths, definition.name):
            _remove_routes(located.addresses, rtnetlink.PROTOCOL_ELSEWHERE)
        whereabouts.remove(paths, definition.name)
        translation.end_masquerade(paths, definition)
        if not _others_of(paths, definition):
            routedlink.remove_held_bridge()

    def settle(self, own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
        """Choose MAC and addresses where the user did not; raises AddressTaken."""
        if wanted.gateway or wanted.gateway6:
            raise NetworkFailed("--gateway is not for the driver routed")
        return spanned.settle(own, wanted, others)

    def check(self, own: ContainerPaths, network: Network, others: Iterable[Record]) -> None:
        """The network must be the same one here, the addresses free among our own."""
        claims.check(network, others)
        found = definition.require(own.paths, network)
        underlay.find(found.peers, found.parent)

    def claim(self, own: ContainerPaths, network: Network) -> None:
        """In the leases of its network here; its ports once more."""
        claims.claim(own, network, definition.find(own.paths, network.name))

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Namespace, veth pair, addresses; no route leads there yet, and it is held."""
        self.set_up(own.paths, definition.require(own.paths, network))
        try:
            make_network_namespace(own)
            routedlink.make(own, network)
            shaping.limit(own.netns, routedlink.INSIDE, port_of(own.identifier), network)
            translation.publish(own, network, port_of(own.identifier))
        except Exception as error:
            self.detach(own)
            if isinstance(error, NetworkFailed):
                raise
            raise NetworkFailed("can't set up the routed network", cause=str(error)) from error

    def release(self, own: ContainerPaths, network: Network) -> None:
        """The routes lead to its link, and it is held no more."""
        port = port_of(own.identifier)
        try:
            for address in addresses_of(network):
                rtnetlink.replace_route(address, interface=port, protocol=rtnetlink.PROTOCOL_HERE)
            unless_done(lambda: interfaces.leave_bridge(HELD, port), {errno.EINVAL})
        except OSError as error:
            raise _not_switched(port, error) from error

    def hold(self, own: ContainerPaths, network: Network) -> None:
        """The kernel drops what it sends; what comes goes to its stand-in, or nowhere."""
        port = port_of(own.identifier)
        try:
            unless_done(lambda: interfaces.join_bridge(HELD, port), {errno.EBUSY})
            RoutedStandIn.turn_routes(own, network)
        except OSError as error:
            raise _not_switched(port, error) from error

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """A TAP interface to which the routes lead meanwhile; None where there is no TUN driver."""
        found = definition.find(own.paths, network.name)
        place = underlay.find(found.peers, found.parent)
        try:
            return RoutedStandIn(own, network, place)
        except OSError:
            return None

    def deliver(self, own: ContainerPaths, frames: Iterable[bytes]) -> None:
        """Out of the host's end, into the container."""
        deliver(port_of(own.identifier), frames)

    def neighbours(self, own: ContainerPaths) -> Neighbours:
        """Its gateway alone, which every host has entered already."""
        return ()

    def teach(self, own: ContainerPaths, network: Network, known: Neighbours) -> None:
        """It knows its gateway."""

    def detach(self, own: ContainerPaths) -> None:
        """Remove rules, pair and namespace; the routes go with them."""
        translation.withdraw(own)
        routedlink.remove(own)
        netns.delete(own.netns)

    def forget(self, own: ContainerPaths, network: Network) -> None:
        """Its leases end, and what was a route to nowhere; it may be at another host."""
        with contextlib.suppress(OSError, NetworkFailed):
            leases.free(own, network.name)
        with contextlib.suppress(OSError, NetworkFailed):
            _remove_routes(addresses_of(network), rtnetlink.PROTOCOL_HERE)
            found = definition.find(own.paths, network.name)
            routes = Routes(underlay.find(found.peers, found.parent).interface)
            for located in whereabouts.known(own.paths, network.name):
                if located.container == own.identifier:
                    _lead_to(routes, located)

    def enter(self, paths: Paths, definition: Definition, change: Change) -> None:
        """Enter in the kernel what has changed at other hosts; raises OSError, NetworkFailed."""
        routes = Routes(underlay.find(definition.peers, definition.parent).interface)
        for located in change.hidden:
            _remove_routes(located.addresses, rtnetlink.PROTOCOL_ELSEWHERE)
        for located in whereabouts.without_own(paths, change.shown):
            _lead_to(routes, located)


def _lead_to(routes: Routes, located: Located) -> None:
    routes.lead_to(located.addresses, located.host, located.host6)


def _others_of(paths: Paths, network: Definition) -> bool:
    found = definition.load_all(paths)
    return any(d.driver == network.driver and d.name != network.name for d in found)


def _remove_routes(wanted: Iterable[str], protocol: int) -> None:
    for address in wanted:
        unless_done(
            lambda address=address: rtnetlink.remove_route(address, protocol=protocol),
            {errno.ESRCH, errno.ENOENT},
        )


def _not_switched(port: str, error: OSError) -> NetworkFailed:
    return NetworkFailed(
        f"the interface {port} and its routes can't be switched", cause=str(error),
        mend="somebody may have removed it: stop and start the container",
    )  # fmt: skip
