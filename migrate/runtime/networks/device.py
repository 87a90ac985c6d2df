"""The bridge of a network, and the ports on it."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migrate.kernel import netlink
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks.definition import DEFAULT, Definition

DEFAULT_BRIDGE = "migrate0"
_ADDRESS_SET = "3"  # NET_ADDR_SET, include/uapi/linux/netdevice.h
_LINK_LOCAL = ("fe80::1", 64)  # of a bridge with IPv6; an interface must have one (RFC 4291, 2.1)
_SHORT = 12  # letters of a name that fit behind "mb-": an interface's name has at most 15


def device_of(definition: Definition) -> str:
    """The name of a network's bridge on this host."""
    name = definition.name
    if definition is DEFAULT:
        return DEFAULT_BRIDGE
    parent = parent_of(definition)
    if parent and is_bridge(parent):
        return parent
    if len(name) <= _SHORT:
        return f"mb-{name}"
    return f"mb-{hashlib.sha256(name.encode()).hexdigest()[:_SHORT]}"


def parent_of(definition: Definition) -> str:
    """The interface that is to be a port, or is the bridge; other drivers mean another thing."""
    return definition.parent if definition.driver == "bridge" else ""


def is_bridge(interface: str) -> bool:
    """Whether the interface is a bridge."""
    return Path(f"/sys/class/net/{interface}/bridge").is_dir()


def port_of(identifier: str) -> str:
    """The name of the host's end of a container's pair."""
    return f"mg{identifier[:12]}"


def check_parent(definition: Definition) -> None:
    """Raise NetworkFailed where the bridge can't be attached to the network's `parent`."""
    parent = definition.parent
    if not parent or is_bridge(parent):
        return
    if netlink.interface_index(parent) is None:
        raise NetworkFailed(
            f"this host has no interface '{parent}'", mend="'ip link' lists what there is"
        )
    above = Path(f"/sys/class/net/{parent}/master")
    if above.exists() and above.resolve().name != device_of(definition):
        raise NetworkFailed(
            f"the interface '{parent}' belongs to '{above.resolve().name}'",
            mend=f"give --parent {above.resolve().name}, if that is a bridge",
        )
    if netlink.own_addresses(parent):
        raise NetworkFailed(
            f"the interface '{parent}' has addresses of this host",
            cause="a port of a bridge can't be reached at an address of its own",
            mend=f"make a bridge that has them and '{parent}' as its port, and give that as "
            "--parent",
        )


def ensure(definition: Definition) -> str:
    """Make the network's bridge with its addresses and its parent, where it is not there yet.

    Returns its name; raises NetworkFailed, OSError.
    """
    name = device_of(definition)
    with netlink.route() as host:
        if name != parent_of(definition) and not _is_made(host, name, definition):
            _make(host, name, definition)
        _pin_address(host, int(host.link_lookup(ifname=name)[0]))
    return name


def _is_made(host: Any, name: str, definition: Definition) -> bool:
    """Whether nothing is left to be done: the address is the last but the parent."""
    found = host.link_lookup(ifname=name)
    if not found:
        return False
    wanted = {a for a, _ in _own_addresses(definition)}
    has = {entry.get_attr("IFA_ADDRESS") for entry in host.get_addr(index=found[0])}
    parent = parent_of(definition)
    under = Path(f"/sys/class/net/{name}/lower_{parent}").exists() if parent else True
    return wanted <= has and under


def _make(host: Any, name: str, definition: Definition) -> None:
    # Another create may make it at the same moment: what is there already is as good.
    mtu = {"mtu": definition.mtu} if definition.mtu else {}
    _unless_there(lambda: host.link("add", ifname=name, kind="bridge"))
    index = int(host.link_lookup(ifname=name)[0])
    if mtu:
        host.link("set", index=index, **mtu)
    _settle_ipv6(name, wanted=bool(definition.subnet6))
    for address, length in _own_addresses(definition):
        flags = {"flags": 0x02} if ":" in address else {}  # IFA_F_NODAD
        add = functools.partial(host.addr, "add", index=index, address=address, prefixlen=length)
        _unless_there(functools.partial(add, **flags))
    host.link("set", index=index, state="up")
    if under := parent_of(definition):
        parent = int(host.link_lookup(ifname=under)[0])
        host.link("set", index=parent, master=index, state="up")


def _own_addresses(definition: Definition) -> list[tuple[str, int]]:
    """The gateways with their prefix lengths, where this host is the gateway."""
    if parent_of(definition):
        return []
    pairs = (definition.gateway, definition.subnet), (definition.gateway6, definition.subnet6)
    found = [(gw, ipaddress.ip_network(subnet).prefixlen) for gw, subnet in pairs if gw and subnet]
    return [*found, _LINK_LOCAL] if definition.subnet6 else found


def _settle_ipv6(name: str, *, wanted: bool) -> None:
    """The bridge has the IPv6 addresses that it is given here, and no others come with its ports.

    Without an IPv6 subnet it has none: containers could reach services of the host by them.
    """
    settings = Path(f"/proc/sys/net/ipv6/conf/{name}")
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        if wanted:
            (settings / "addr_gen_mode").write_text("1")  # none, Linux, networking/ip-sysctl
            (settings / "accept_ra").write_text("0")
        else:
            (settings / "disable_ipv6").write_text("1")


def remove(definition: Definition) -> None:
    """Remove the network's bridge, unless it is the parent itself; no error when it is gone."""
    name = device_of(definition)
    if name == parent_of(definition) or definition is DEFAULT:
        return
    with netlink.route() as host:
        for index in host.link_lookup(ifname=name):
            with contextlib.suppress(Exception):
                host.link("del", index=index)


def pin(name: str) -> None:
    """`_pin_address` for a bridge that is there; raises OSError."""
    with netlink.route() as host:
        _pin_address(host, int(host.link_lookup(ifname=name)[0]))


def _pin_address(host: Any, index: int) -> None:
    """Make the bridge's MAC address its own.

    Until it is set, if only to what it is, a bridge takes the lowest address of its ports, and
    another one when that port leaves (Linux, net/bridge/br_stp_if.c,
    br_stp_recalculate_bridge_id): the other containers lose their gateway, and a held port with
    that address passes packets up to the host, past the bridge. Once is enough, and must be: to
    set it makes the kernel forget the bridge's neighbours (net/core/neighbour.c, neigh_changeaddr).
    """
    found = host.get_links(index)[0]
    chosen = Path(f"/sys/class/net/{found.get_attr('IFLA_IFNAME')}/addr_assign_type")
    if chosen.read_text().strip() != _ADDRESS_SET:
        host.link("set", index=index, address=found.get_attr("IFLA_ADDRESS"))


def make_deaf(port: str) -> None:
    """While the port is held, off its bridge, the host must not take its packets for its own.

    It would answer ARP there for its own addresses, and take in what the container's sockets send.
    On the bridge, all this is the bridge's to answer (Linux, networking/ip-sysctl).
    """
    settings = Path(f"/proc/sys/net/ipv4/conf/{port}")
    (settings / "arp_ignore").write_text("8")
    (settings / "rp_filter").write_text("1")
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6").write_text("1")


def reflect(port: str) -> None:
    """Let the port send a frame back to where it came from; raises OSError.

    So a container reaches its own published ports where bridges pass packets to nf_tables: what was
    redirected stays on the bridge then (Linux, net/bridge/br_netfilter_hooks.c).
    """
    Path(f"/sys/class/net/{port}/brport/hairpin_mode").write_text("1")


def await_link(port: str, limit: float = 2.0) -> None:
    """Wait until the kernel's link watch has seen the pair up (a TAP does not tell: unknown)."""
    state = Path("/sys/class/net") / port / "operstate"
    deadline = time.monotonic() + limit
    while state.exists() and state.read_text().strip() not in {"up", "unknown"}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)


def _unless_there(make: Callable[[], object]) -> None:
    from pyroute2 import NetlinkError

    try:
        make()
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
