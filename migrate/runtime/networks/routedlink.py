"""A container's link in a routed network: a veth pair that is on no bridge, and the host's part.

After Calico's data path: an address of its own with all bits for its prefix, a gateway that is the
same on every host, and a route to the host's end. The gateway's addresses are link-local, its MAC
is the same everywhere and entered for good: nothing has to be asked after a change of host.

To hold a container, the host's end becomes a port of a bridge that is down and stays so: the kernel
drops what it sends before any protocol sees it (Linux, net/bridge/br_input.c, br_handle_frame).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from migrate.kernel import interfaces, netlink, rtnetlink
from migrate.runtime.networks.device import await_link, port_of
from migrate.runtime.networks.whereabouts import addresses_of
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network

INSIDE = "eth0"
HELD = "mr-held"
"""The bridge of what is held; one a host, there as long as it has a routed network."""
GATEWAY, GATEWAY6 = "169.254.1.1", "fe80::1"
GATEWAY_MAC = "ee:ee:ee:ee:ee:ee"
_HELD_MAC = "ee:ee:ee:ee:ee:ef"  # its own: else it has that of a port, as long as there is one
_NODAD = 0x02  # IFA_F_NODAD, include/uapi/linux/if_addr.h
_SCOPE_LINK = 253
_NO_ADDRESS = "1"  # addr_gen_mode: Linux, networking/ip-sysctl


def make_held_bridge() -> None:
    """The bridge HELD, which is never set up; raises NetlinkError."""
    from pyroute2 import NetlinkError

    with netlink.route() as host:
        try:
            host.link("add", ifname=HELD, kind="bridge", address=_HELD_MAC)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise


def remove_held_bridge() -> None:
    """No error when it is gone."""
    with netlink.route() as host:
        for index in host.link_lookup(ifname=HELD):
            with contextlib.suppress(Exception):
                host.link("del", index=index)


def make(own: ContainerPaths, network: Network) -> None:
    """The pair, held; raises NetlinkError, OSError. The namespace is there."""
    port = port_of(own.identifier)
    with netlink.route() as host, Path(own.netns).open("rb") as namespace:
        peer: dict[str, Any] = {
            "ifname": INSIDE, "net_ns_fd": namespace.fileno(), "address": network.mac,
        }  # fmt: skip
        mtu = {"mtu": network.mtu} if network.mtu else {}
        host.link("add", ifname=port, kind="veth", peer=peer | mtu, address=GATEWAY_MAC, **mtu)
        _set_up_port(port)
        interfaces.join_bridge(HELD, port)
        index = host.link_lookup(ifname=port)[0]
        if network.address6:
            host.addr("add", index=index, address=GATEWAY6, prefixlen=64, flags=_NODAD)
        host.link("set", index=index, state="up")
    know(port, network)
    _set_up_inside(own, network)
    await_link(port)


def know(port: str, network: Network) -> None:
    """The host need not ask for the container's MAC behind `port`; raises OSError."""
    for address in addresses_of(network):
        rtnetlink.replace_neighbour(port, address, network.mac)


def _set_up_port(port: str) -> None:
    """It forwards, answers for every address, and takes nothing from other addresses' owners."""
    forward(port)
    for version, name, value in (
        ("ipv4", "proxy_arp", "1"), ("ipv4", "rp_filter", "1"), ("ipv4", "send_redirects", "0"),
        ("ipv6", "accept_ra", "0"), ("ipv6", "accept_dad", "0"),
        ("ipv6", "addr_gen_mode", _NO_ADDRESS),
    ):  # fmt: skip
        _set(version, port, name, value)


def forward(interface: str) -> None:
    """Let what comes in by the interface be forwarded.

    IPv6 knows that for one interface alone from Linux 6.17 on (force_forwarding); before, it is for
    all, and the interface would take no router's advertisement any more if it were not told to.
    """
    _set("ipv4", interface, "forwarding", "1")
    if _set("ipv6", interface, "force_forwarding", "1"):
        return
    accepting = Path(f"/proc/sys/net/ipv6/conf/{interface}/accept_ra")
    with contextlib.suppress(FileNotFoundError):
        if accepting.read_text().strip() == "1":
            accepting.write_text("2")
    _set("ipv6", "all", "forwarding", "1")


def _set(version: str, interface: str, name: str, value: str) -> bool:
    """Whether the kernel has such a setting."""
    path = Path(f"/proc/sys/net/{version}/conf/{interface}/{name}")
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:  # a kernel without IPv6, or an older one
        return False
    return True


def _set_up_inside(own: ContainerPaths, network: Network) -> None:
    with netlink.inside(own.netns):
        for name in ("accept_ra", "accept_dad", "dad_transmits"):
            _set("ipv6", INSIDE, name, "0")
    with netlink.route(own.netns) as inside:
        index = inside.link_lookup(ifname=INSIDE)[0]
        for address in addresses_of(network):
            length = ipaddress.ip_address(address).max_prefixlen
            flags = {"flags": _NODAD} if ":" in address else {}
            inside.addr("add", index=index, address=address, prefixlen=length, **flags)
        inside.link("set", index=index, state="up")
        if network.address:
            inside.route("add", dst=f"{GATEWAY}/32", oif=index, scope=_SCOPE_LINK)
            inside.route("add", dst="default", gateway=GATEWAY, oif=index)
        if network.address6:
            inside.route("add", dst="::/0", gateway=GATEWAY6, oif=index)
    with netlink.inside(own.netns):
        for gateway, there_is in ((GATEWAY, network.address), (GATEWAY6, network.address6)):
            if there_is:
                rtnetlink.replace_neighbour(INSIDE, gateway, GATEWAY_MAC)


def remove(own: ContainerPaths) -> None:
    """The pair, and with it its routes; no error when it is gone."""
    with netlink.route() as host:
        for index in host.link_lookup(ifname=port_of(own.identifier)):
            with contextlib.suppress(Exception):
                host.link("del", index=index)


def unless_done(change: Any, codes: Iterable[int]) -> None:
    """Call it; an error that says it is done already is none."""
    try:
        change()
    except OSError as error:
        if error.errno not in set(codes):
            raise
