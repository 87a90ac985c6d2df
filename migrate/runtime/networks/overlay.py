"""The driver `overlay`: one segment over many hosts, in VXLAN between their addresses (RFC 7348).

On each host a bridge as the driver `bridge` has it, and a VXLAN device as one of its ports. Who is
where comes from the hosts themselves (`whereabouts`); a container that changes hosts is announced
to all peers in the instant, and their kernels learn its new place from the announcement itself.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Sequence

import msgspec

from migrate.errors import MigrateError
from migrate.kernel import netlink
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks import (
    definition,
    device,
    segment,
    spanned,
    translation,
    underlay,
    whereabouts,
)
from migrate.runtime.networks.addresses import plain
from migrate.runtime.networks.bridge import Bridge
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.segment import Segment
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.networks.whereabouts import Change, addresses_of
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record

OPTIONS = ("nat", "range")


class Overlay(Bridge):
    """IP and MAC belong to the container and go with it; the hosts need only reach each other."""

    def define(self, wanted: Definition, known: Sequence[Definition]) -> Definition:
        """VNI and MTU, where they were not told; the same wish gives the same on all hosts."""
        spanned.check(wanted, OPTIONS)
        vni = wanted.vni or 1 + zlib.crc32(wanted.name.encode()) % segment.HIGHEST_VNI
        for other in known:
            if other.vni == vni:
                raise NetworkFailed(
                    f"the VNI {vni} is that of the network '{other.name}'",
                    mend="give another --vni, the same on all hosts",
                )
        place = underlay.find(wanted.peers, wanted.parent)
        most = place.mtu - segment.overhead(place)
        if wanted.mtu > most:
            raise NetworkFailed(
                f"an MTU of {wanted.mtu} does not fit the underlay",
                cause=f"{place.interface} has {place.mtu}, of which VXLAN takes "
                f"{segment.overhead(place)}",
                mend=f"give {most} or less, the same on all hosts",
            )
        made = msgspec.structs.replace(wanted, vni=vni, mtu=wanted.mtu or most)
        return definition.with_gateways(made)

    def set_up(self, paths: Paths, definition: Definition) -> None:
        """Bridge, NAT and VXLAN device, and all that is known of the other hosts' containers."""
        found = segment_of(definition)
        device.ensure(definition)
        if definition.options.get("nat", "on") == "on":
            translation.masquerade(paths, definition, found.bridge)
        if found.exists:
            return
        found.make(underlay.find(definition.peers, definition.parent), definition.mtu)
        known = whereabouts.known(paths, definition.name)
        for located in whereabouts.without_own(paths, known):
            found.show(located.mac, located.addresses, located.host)

    def tear_down(self, paths: Paths, definition: Definition) -> None:
        """The device, the bridge, the rules, and what was known."""
        segment_of(definition).remove()
        super().tear_down(paths, definition)
        whereabouts.remove(paths, definition.name)

    def settle(self, own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
        """As a bridge, but for the addresses of containers of other hosts."""
        return spanned.settle(own, wanted, others)

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Also, the bridge answers for its addresses from now on."""
        found = definition.require(own.paths, network)
        super().attach(own, network)
        segment_of(found).introduce(network.mac, addresses_of(network))

    def release(self, own: ContainerPaths, network: Network) -> None:
        """Also, tell all peers' kernels where it is now."""
        super().release(own, network)
        found = segment_of(definition.find(own.paths, network.name))
        with contextlib.suppress(OSError):
            found.announce(announcements(network))
            found.here(network.mac)

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """One that all peers hear of, too."""
        found = super().stand_in(own, network)
        if found is not None:
            found.also = segment_of(definition.find(own.paths, network.name)).announce
        return found

    def forget(self, own: ContainerPaths, network: Network) -> None:
        """Also, it may be at another host still: a move that was rolled back has brought it."""
        super().forget(own, network)
        with contextlib.suppress(OSError, MigrateError):
            found = segment_of(definition.find(own.paths, network.name))
            for located in whereabouts.known(own.paths, network.name):
                if located.container == own.identifier:
                    found.show(located.mac, located.addresses, located.host)

    def enter(self, paths: Paths, definition: Definition, change: Change) -> None:
        """Enter in the kernel what has changed at other hosts; raises OSError."""
        found = segment_of(definition)
        if not found.exists:
            return  # `set_up` enters all
        for located in change.hidden:
            found.hide(located.mac, located.addresses)
        for located in whereabouts.without_own(paths, change.shown):
            found.show(located.mac, located.addresses, located.host)


def segment_of(definition: Definition) -> Segment:
    """The network's segment on this host."""
    return Segment(definition.vni, device.device_of(definition))


def announcements(network: Network) -> list[bytes]:
    """The frames by which a container tells where it is."""
    mac = bytes.fromhex(network.mac.replace(":", ""))
    return netlink.announcements(mac, plain(network.address), plain(network.address6))
