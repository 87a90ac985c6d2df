"""The driver `bridge`: a veth pair, one end in the container, the other a port of a bridge."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrate.errors import MigrateError
from migrate.kernel import interfaces, netlink, netns
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks import (
    addresses,
    claims,
    definition,
    device,
    leases,
    ports,
    shaping,
    translation,
)
from migrate.runtime.networks.addresses import plain
from migrate.runtime.networks.definition import DEFAULT, Definition
from migrate.runtime.networks.device import DEFAULT_BRIDGE, port_of
from migrate.runtime.networks.driver import Neighbours
from migrate.runtime.networks.standin import StandIn, deliver
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record
from migrate.runtime.usernamespaces import make_network_namespace

INSIDE = "eth0"
OPTIONS = ("nat", "range")
_SUBNETS = ipaddress.IPv4Network("10.89.0.0/16")
"""Of these, a /24 is chosen where the user has told no subnet."""


class Bridge:
    """IP and MAC belong to the container and go with it."""

    own_namespace = True

    def define(self, wanted: Definition, known: Sequence[Definition]) -> Definition:
        """Subnet and gateway; with a parent the subnet is that of the link, and must be told."""
        if wanted.vni or wanted.peers:
            raise NetworkFailed("--vni and --peer are not for the driver bridge")
        if unknown := sorted(set(wanted.options) - set(OPTIONS)):
            raise NetworkFailed(
                f"the driver bridge has no option '{unknown[0]}'",
                mend=f"it has {', '.join(OPTIONS)}",
            )
        if wanted.parent and not wanted.subnet:
            raise NetworkFailed(
                "with --parent, the subnet must be told", cause="it is that of the link",
                mend="give --subnet, and --gateway where the link has a router",
            )  # fmt: skip
        device.check_parent(wanted)
        made = msgspec.structs.replace(wanted, subnet=wanted.subnet or _free_subnet(known))
        definition.check_range(made)
        if wanted.options.get("nat", "on") not in {"on", "off"}:
            raise NetworkFailed("the option nat is 'on' or 'off'", mend="--option nat=off")
        return made if wanted.parent else definition.with_gateways(made)

    def set_up(self, paths: Paths, definition: Definition) -> None:
        """The bridge, its addresses, its parent; NAT to outside."""
        bridge = device.ensure(definition)
        # With a parent, the link has a router of its own.
        if definition.options.get("nat", "off" if definition.parent else "on") == "on":
            translation.masquerade(paths, definition, bridge)

    def tear_down(self, paths: Paths, definition: Definition) -> None:
        """Remove the rules, and the bridge, unless it is the host's own."""
        translation.end_masquerade(paths, definition)
        device.remove(definition)

    def settle(self, own: ContainerPaths, wanted: Network, others: Iterable[Record]) -> Network:
        """Choose bridge, MAC and addresses where the user did not; raises AddressTaken."""
        found = _definition_of(own.paths, wanted)
        if wanted.name:
            wanted = definition.belonging(wanted, found)
        else:
            wanted = msgspec.structs.replace(wanted, bridge=wanted.bridge or DEFAULT_BRIDGE)
        others = list(others)
        # Their addresses are settled first: a port needs one to lead to.
        settled = addresses.settle(own, wanted, found, others, _answering(found))
        ports.check(settled, others)
        return settled

    def check(self, own: ContainerPaths, network: Network, others: Iterable[Record]) -> None:
        """The bridge must exist (or be the default one), the address be free among our own."""
        claims.check(network, others)
        if network.name:
            definition.require(own.paths, network)
        elif network.bridge != DEFAULT_BRIDGE and not _is_there(network.bridge):
            raise NetworkFailed(
                f"this host has no bridge '{network.bridge}'",
                mend="make it, with a port on the same layer 2 as the other hosts",
            )

    def claim(self, own: ContainerPaths, network: Network) -> None:
        """In the leases of its network here; its ports once more."""
        claims.claim(own, network, _definition_of(own.paths, network))

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Namespace, veth pair, address and route; the host's end is no port yet (held)."""
        try:
            make_network_namespace(own)
            self._connect(own, network)
        except Exception as error:
            self.detach(own)
            if isinstance(error, NetworkFailed):
                raise
            raise NetworkFailed("can't set up the bridge network", cause=str(error)) from error

    def _connect(self, own: ContainerPaths, network: Network) -> None:
        port = port_of(own.identifier)
        bridge = self._host_side(own.paths, network)
        with netlink.route() as host:
            with Path(own.netns).open("rb") as namespace:
                peer: dict[str, Any] = {
                    "ifname": INSIDE, "net_ns_fd": namespace.fileno(), "address": network.mac,
                }  # fmt: skip
                mac = "fe:" + addresses.random_mac()[3:]
                mtu = {"mtu": network.mtu} if network.mtu else {}
                host.link("add", ifname=port, kind="veth", peer=peer | mtu, address=mac, **mtu)
            device.make_deaf(port)
            host.link("set", index=host.link_lookup(ifname=port)[0], state="up")
        netlink.configure(
            own.netns, INSIDE, ((network.address, network.gateway),
                                (network.address6, network.gateway6)),
        )  # fmt: skip
        shaping.limit(own.netns, INSIDE, port, network)
        translation.publish(own, network, bridge)
        device.await_link(port)

    def _host_side(self, paths: Paths, network: Network) -> str:
        """The bridge's name; it is there, with all that belongs to it."""
        if network.name or network.bridge == DEFAULT_BRIDGE:
            found = _definition_of(paths, network)
            self.set_up(paths, found)
            return device.device_of(found)
        if not _is_there(network.bridge):
            raise NetworkFailed(f"this host has no bridge '{network.bridge}'", mend="make it first")
        device.pin(network.bridge)
        return network.bridge

    def release(self, own: ContainerPaths, network: Network) -> None:
        """Make the host's end a port of the bridge, and tell the link where the addresses are.

        The link itself is up all the time: a link that comes up passes packets only when the
        kernel's link watch has run, and the ARP would be lost.
        """
        self._switch(own, interfaces.join_bridge, network, done=errno.EBUSY)
        if network.ports:
            with contextlib.suppress(OSError):
                device.reflect(port_of(own.identifier))
        with contextlib.suppress(OSError):
            netlink.announce(own.netns, INSIDE, plain(network.address), plain(network.address6))

    def hold(self, own: ContainerPaths, network: Network) -> None:
        """Take the host's end off the bridge: packets are lost, and sent again by their senders."""
        self._switch(own, interfaces.leave_bridge, network, done=errno.EINVAL)

    def _switch(
        self, own: ContainerPaths, change: Callable[[str, str], None], network: Network, *,
        done: int,
    ) -> None:  # fmt: skip
        """By ioctl, not netlink: this is inside the pause, and loads no library."""
        port = port_of(own.identifier)
        bridge = _bridge_of(own.paths, network)
        try:
            change(bridge, port)
        except OSError as error:
            if error.errno == done:
                return
            raise NetworkFailed(
                f"the interface {port} can't be switched at {bridge}", cause=str(error),
                mend="somebody may have removed it: stop and start the container",
            ) from error  # fmt: skip

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """A TAP interface on the bridge; None where there is no TUN driver."""
        name = f"ms{own.identifier[:12]}"
        try:
            found = StandIn(
                name, _bridge_of(own.paths, network), network.mac, plain(network.address),
                plain(network.address6),
            )  # fmt: skip
        except OSError:
            return None
        device.make_deaf(name)
        device.await_link(name)
        return found

    def deliver(self, own: ContainerPaths, frames: Iterable[bytes]) -> None:
        """Out of the host's end, into the container."""
        deliver(port_of(own.identifier), frames)

    def neighbours(self, own: ContainerPaths) -> Neighbours:
        """Those of its interface."""
        return netlink.neighbours(own.netns, INSIDE)

    def teach(self, own: ContainerPaths, network: Network, known: Neighbours) -> None:
        """Enter them in the new namespace's table, this host's bridge with its own MAC here."""
        here = netlink.own_addresses(_bridge_of(own.paths, network))
        netlink.teach(own.netns, INSIDE, {**dict(known), **dict(here)}.items())

    def detach(self, own: ContainerPaths) -> None:
        """Remove rules, pair and namespace."""
        translation.withdraw(own)
        with netlink.route() as host:
            for index in host.link_lookup(ifname=port_of(own.identifier)):
                with contextlib.suppress(Exception):
                    host.link("del", index=index)
        netns.delete(own.netns)

    def forget(self, own: ContainerPaths, network: Network) -> None:
        """Its lease ends; what can't be written now ends with the container's record."""
        with contextlib.suppress(OSError, MigrateError):
            leases.free(own, network.name or DEFAULT.name)
            for address in filter(None, (plain(network.address), plain(network.address6))):
                netlink.forget_neighbour(_bridge_of(own.paths, network), address)


def _definition_of(paths: Paths, network: Network) -> Definition:
    """The network that the container belongs to; raises NetworkUnknown."""
    return definition.find(paths, network.name) if network.name else DEFAULT


def _bridge_of(paths: Paths, network: Network) -> str:
    """The bridge that it is a port of on this host; raises NetworkUnknown."""
    if not network.name:
        return network.bridge
    return device.device_of(definition.find(paths, network.name))


def _is_there(bridge: str) -> bool:
    return netlink.interface_index(bridge) is not None


def _answering(found: Definition) -> Callable[[str], bool]:
    """Where other hosts share the link, an address may be that of a container there."""
    if not found.parent:
        return lambda _: False
    bridge = device.ensure(found)
    return lambda address: ":" not in address and netlink.answers_arp(bridge, address)


def _free_subnet(known: Sequence[Definition]) -> str:
    """The first /24 that neither a network nor an interface of this host has."""
    used = [ipaddress.ip_network(d.subnet) for d in known if d.subnet]
    used += [ipaddress.ip_interface(text).network for text in netlink.all_addresses()]
    for subnet in _SUBNETS.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in used if other.version == 4):
            return str(subnet)
    raise NetworkFailed("no subnet is free", mend="give one: --subnet 172.20.0.0/24")
