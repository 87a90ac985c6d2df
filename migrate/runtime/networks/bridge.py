"""The driver `bridge`: a veth pair, one end in the container, the other a port of a bridge."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from migrate.kernel import interfaces, netlink, netns
from migrate.runtime.errors import AddressTaken, NetworkFailed
from migrate.runtime.networks.driver import Neighbours
from migrate.runtime.networks.standin import StandIn, deliver
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network, Record

DEFAULT_BRIDGE = "migrate0"
DEFAULT_SUBNET = ipaddress.IPv4Network("10.88.0.0/16")
INSIDE = "eth0"


_MAC = re.compile(r"[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}")  # unicast


def port_of(identifier: str) -> str:
    """The name of the host's end; an interface's name has at most 15 characters."""
    return f"mg{identifier[:12]}"


def random_mac() -> str:
    """A locally administered unicast address (IEEE 802, second bit of the first octet)."""
    return ":".join(f"{octet:02x}" for octet in (0x02, *secrets.token_bytes(5)))


class Bridge:
    """IP and MAC belong to the container and go with it."""

    own_namespace = True

    def settle(self, wanted: Network, others: Iterable[Record]) -> Network:
        """Choose bridge, MAC and address where the user did not; raises AddressTaken."""
        others = list(others)
        bridge = wanted.bridge or DEFAULT_BRIDGE
        address, gateway = wanted.address, wanted.gateway
        if not address:
            address = _free_address(others)
            gateway = gateway or str(next(DEFAULT_SUBNET.hosts()))
        if "/" not in address:
            address += "/24"
        try:
            address = str(ipaddress.IPv4Interface(address))
        except ValueError as error:
            raise NetworkFailed(
                f"'{wanted.address}' is no address", cause=str(error),
                mend="give it as 10.77.0.50/24",
            ) from error  # fmt: skip
        if wanted.mac and not _MAC.fullmatch(wanted.mac):
            raise NetworkFailed(f"'{wanted.mac}' is no MAC address", mend="as 02:00:00:00:00:01")
        _check_gateway(gateway, address)
        network = msgspec.structs.replace(
            wanted, bridge=bridge, address=address, gateway=gateway,
            mac=wanted.mac or random_mac(),
        )  # fmt: skip
        _refuse_taken(network, others)
        return network

    def check(self, network: Network, others: Iterable[Record]) -> None:
        """The bridge must exist (or be the default one), the address be free among our own."""
        _refuse_taken(network, others)
        if network.bridge != DEFAULT_BRIDGE and netlink.interface_index(network.bridge) is None:
            raise NetworkFailed(
                f"this host has no bridge '{network.bridge}'",
                mend="make it, with a port on the same layer 2 as the other hosts",
            )

    def attach(self, own: ContainerPaths, network: Network) -> None:
        """Namespace, veth pair, address and route; the host's end is no port yet (held)."""
        try:
            netns.create(own.netns)
            self._connect(own, network)
        except Exception as error:
            self.detach(own)
            if isinstance(error, NetworkFailed):
                raise
            raise NetworkFailed("can't set up the bridge network", cause=str(error)) from error

    def _connect(self, own: ContainerPaths, network: Network) -> None:
        port = port_of(own.identifier)
        interface = ipaddress.IPv4Interface(network.address)
        with netlink.route() as host:
            _pin_address(host, _ensure_bridge(host, network.bridge))
            with Path(own.netns).open("rb") as namespace:
                peer = {"ifname": INSIDE, "net_ns_fd": namespace.fileno(), "address": network.mac}
                mac = "fe:" + random_mac()[3:]
                host.link("add", ifname=port, kind="veth", peer=peer, address=mac)
            _make_deaf(port)
            host.link("set", index=host.link_lookup(ifname=port)[0], state="up")
        with netlink.route(own.netns) as inside:
            index = inside.link_lookup(ifname=INSIDE)[0]
            inside.addr(
                "add", index=index, address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
            )  # fmt: skip
            inside.link("set", index=index, state="up")
            if network.gateway:
                inside.route("add", dst="default", gateway=network.gateway)
        _await_link(port)

    def release(self, own: ContainerPaths, network: Network) -> None:
        """Make the host's end a port of the bridge, and send a gratuitous ARP.

        The link itself is up all the time: a link that comes up passes packets only when the
        kernel's link watch has run, and the ARP would be lost.
        """
        self._switch(own, interfaces.join_bridge, network, done=errno.EBUSY)
        with contextlib.suppress(OSError):
            netlink.announce(own.netns, INSIDE, network.address.partition("/")[0])

    def hold(self, own: ContainerPaths, network: Network) -> None:
        """Take the host's end off the bridge: packets are lost, and sent again by their senders."""
        self._switch(own, interfaces.leave_bridge, network, done=errno.EINVAL)

    def _switch(
        self, own: ContainerPaths, change: Callable[[str, str], None], network: Network, *,
        done: int,
    ) -> None:  # fmt: skip
        """By ioctl, not netlink: this is inside the pause, and loads no library."""
        port = port_of(own.identifier)
        try:
            change(network.bridge, port)
        except OSError as error:
            if error.errno == done:
                return
            raise NetworkFailed(
                f"the interface {port} can't be switched at {network.bridge}", cause=str(error),
                mend="somebody may have removed it: stop and start the container",
            ) from error  # fmt: skip

    def stand_in(self, own: ContainerPaths, network: Network) -> StandIn | None:
        """A TAP interface on the bridge; None where there is no TUN driver."""
        address = network.address.partition("/")[0]
        name = f"ms{own.identifier[:12]}"
        try:
            found = StandIn(name, network.bridge, network.mac, address)
        except OSError:
            return None
        _make_deaf(name)
        _await_link(name)
        return found

    def deliver(self, own: ContainerPaths, frames: Iterable[bytes]) -> None:
        """Out of the host's end, into the container."""
        deliver(port_of(own.identifier), frames)

    def neighbours(self, own: ContainerPaths) -> Neighbours:
        """Those of its interface."""
        return netlink.neighbours(own.netns, INSIDE)

    def teach(self, own: ContainerPaths, network: Network, known: Neighbours) -> None:
        """Enter them in the new namespace's table, this host's bridge with its own MAC here."""
        here = netlink.own_addresses(network.bridge)
        netlink.teach(own.netns, INSIDE, {**dict(known), **dict(here)}.items())

    def detach(self, own: ContainerPaths) -> None:
        """Remove the pair and the namespace."""
        with netlink.route() as host:
            for index in host.link_lookup(ifname=port_of(own.identifier)):
                with contextlib.suppress(Exception):
                    host.link("del", index=index)
        netns.delete(own.netns)


def _await_link(port: str, limit: float = 2.0) -> None:
    """Wait until the kernel's link watch has seen the pair up (a TAP does not tell: unknown)."""
    state = Path("/sys/class/net") / port / "operstate"
    deadline = time.monotonic() + limit
    while state.exists() and state.read_text().strip() not in {"up", "unknown"}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)


def _ensure_bridge(host: object, name: str) -> int:
    """The index of the bridge; the default one is made with the subnet's first address."""
    from pyroute2 import IPRoute

    assert isinstance(host, IPRoute)
    found = host.link_lookup(ifname=name)
    if found:
        return int(found[0])
    if name != DEFAULT_BRIDGE:
        raise NetworkFailed(f"this host has no bridge '{name}'", mend="make it first")
    first = str(next(DEFAULT_SUBNET.hosts()))
    # Another create may make it at the same moment: what is there already is as good.
    _unless_there(lambda: host.link("add", ifname=name, kind="bridge"))
    index = int(host.link_lookup(ifname=name)[0])
    _unless_there(
        lambda: host.addr("add", index=index, address=first, prefixlen=DEFAULT_SUBNET.prefixlen)
    )
    host.link("set", index=index, state="up")
    return index


def _pin_address(host: object, index: int) -> None:
    """Make the bridge's MAC address its own.

    Until it is set, if only to what it is, a bridge takes the lowest address of its ports, and
    another one when that port leaves (Linux, net/bridge/br_stp_if.c,
    br_stp_recalculate_bridge_id): the other containers lose their gateway, and a held port with
    that address passes packets up to the host, past the bridge.
    """
    from pyroute2 import IPRoute

    assert isinstance(host, IPRoute)
    address = host.get_links(index)[0].get_attr("IFLA_ADDRESS")
    host.link("set", index=index, address=address)


def _make_deaf(port: str) -> None:
    """While the port is held, off its bridge, the host must not take its packets for its own.

    It would answer ARP there for its own addresses, and take in what the container's sockets send.
    On the bridge, all this is the bridge's to answer (Linux, networking/ip-sysctl).
    """
    settings = Path(f"/proc/sys/net/ipv4/conf/{port}")
    (settings / "arp_ignore").write_text("8")
    (settings / "rp_filter").write_text("1")
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6").write_text("1")


def _unless_there(make: Callable[[], object]) -> None:
    from pyroute2 import NetlinkError

    try:
        make()
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _taken(others: Iterable[Record]) -> dict[str, str]:
    return {
        r.network.address.partition("/")[0]: r.name
        for r in others
        if r.network.address and not r.moved_to
    }


def _check_gateway(gateway: str, address: str) -> None:
    """A default route needs a neighbour: raise NetworkFailed for one outside the subnet."""
    if not gateway:
        return
    try:
        reachable = ipaddress.IPv4Address(gateway) in ipaddress.IPv4Interface(address).network
    except ValueError:
        reachable = False
    if not reachable:
        raise NetworkFailed(
            f"the gateway {gateway} can't be reached from {address}",
            cause="it is not in the address's subnet", mend="mend --gateway or the prefix length",
        )  # fmt: skip


def _refuse_taken(network: Network, others: Iterable[Record]) -> None:
    ip = network.address.partition("/")[0]
    holder = _taken(others).get(ip)
    if holder:
        raise AddressTaken(
            f"the address {ip} is taken", cause=f"container '{holder}' on this host has it"
        )


def _free_address(others: Iterable[Record]) -> str:
    taken = _taken(others)
    hosts = DEFAULT_SUBNET.hosts()
    next(hosts)  # the bridge's own
    for candidate in hosts:
        if str(candidate) not in taken:
            return f"{candidate}/{DEFAULT_SUBNET.prefixlen}"
    raise AddressTaken(f"no address of {DEFAULT_SUBNET} is free")
