"""Interfaces, addresses, routes and neighbour announcements, through pyroute2 and packet sockets.

Every function works on the network namespace of the calling thread, or, where it takes `netns`
(the path of a bound namespace file), on that one.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from migrate.kernel import icmpv6
from migrate.kernel.namespaces import CLONE_NEWNET, setns

_ETH_P_ARP = 0x0806
_NUD_STALE = 0x04
_NUD_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h
_IFA_F_PERMANENT = 0x80  # include/uapi/linux/if_addr.h
_TC_H_ROOT = 0xFFFF_FFFF  # include/uapi/linux/pkt_sched.h
_ARP_RETRY_MS = 100
"""The kernel asks again after 1000 by default: an answer lost in a pause would cost as much."""
_BROADCAST = b"\xff" * 6


@contextlib.contextmanager
def route(netns: Path | None = None) -> Iterator[Any]:
    """A netlink route socket (pyroute2.IPRoute) of this namespace or of `netns`."""
    from pyroute2 import IPRoute

    with inside(netns):
        handle = IPRoute()
    try:
        yield handle
    finally:
        handle.close()


@contextlib.contextmanager
def inside(netns: Path | None) -> Iterator[None]:
    """Run the block with the calling thread in `netns`; sockets made there stay there."""
    if netns is None:
        yield
        return
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(there)
        os.close(home)


def interface_index(name: str) -> int | None:
    """The index of an interface in this namespace; None if there is no such one."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def bridges() -> list[str]:
    """The names of this namespace's bridges, sorted; raises OSError."""
    with route() as handle:
        return sorted(link.get_attr("IFLA_IFNAME") for link in handle.get_links(kind="bridge"))


def all_addresses() -> list[str]:
    """Every address of this namespace with its prefix length, IPv4 and IPv6; raises OSError."""
    with route() as handle:
        return [f"{e.get_attr('IFA_ADDRESS')}/{e['prefixlen']}" for e in handle.get_addr()]


def configure(netns: Path, interface: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Set an interface of `netns` up with addresses and default routes.

    `pairs` of an address with its prefix length and a gateway; either may be "". IPv6 addresses
    are usable at once: there is no duplicate address detection (RFC 4862, 5.4), and no router
    advertisement changes what is set here.
    """
    wanted = [(ipaddress.ip_interface(address), gateway) for address, gateway in pairs if address]
    _quieten(netns, interface, with_ipv6=any(found.version == 6 for found, _ in wanted))
    with route(netns) as handle:
        index = handle.link_lookup(ifname=interface)[0]
        for found, _ in wanted:
            length = found.network.prefixlen
            flags = {"flags": _IFA_F_NODAD} if found.version == 6 else {}
            handle.addr("add", index=index, address=str(found.ip), prefixlen=length, **flags)
        handle.link("set", index=index, state="up")
        for found, gateway in wanted:
            if gateway:
                family = socket.AF_INET6 if found.version == 6 else socket.AF_INET
                handle.route("add", family=family, dst="default", gateway=gateway, oif=index)


def limit_rate(netns: Path | None, interface: str, rate: int, burst: int, limit: int) -> None:
    """A token bucket for what leaves by the interface: bytes a second, at once, and waiting."""
    with route(netns) as handle:
        index = handle.link_lookup(ifname=interface)[0]
        handle.tc("add", "tbf", index, rate=rate, burst=burst, limit=limit, parent=_TC_H_ROOT)


def _quieten(netns: Path, interface: str, *, with_ipv6: bool) -> None:
    settings = {"accept_dad": "0", "dad_transmits": "0"}
    if with_ipv6:
        settings |= {"accept_ra": "0", "autoconf": "0"}
    with inside(netns), contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        for name, value in settings.items():
            Path(f"/proc/sys/net/ipv6/conf/{interface}/{name}").write_text(value)


def neighbours(netns: Path, interface: str) -> tuple[tuple[str, str], ...]:
    """The neighbours of `interface` that are known, IPv4 and IPv6: pairs of address and MAC."""
    with route(netns) as handle:
        index = handle.link_lookup(ifname=interface)[0]
        entries = [
            entry
            for family in (socket.AF_INET, socket.AF_INET6)
            for entry in handle.get_neighbours(ifindex=index, family=family)
            if entry["state"] & _NUD_KNOWN
        ]
    pairs = [(e.get_attr("NDA_DST"), e.get_attr("NDA_LLADDR")) for e in entries]
    return tuple((ip, mac) for ip, mac in pairs if ip and mac and mac != "00:00:00:00:00:00")


def move_interface(name: str, netns: Path, inside: str) -> None:
    """Move an interface to another namespace, there named `inside`, with its addresses; set it up.

    Its global, permanent addresses go along (a move between namespaces drops them). Raises OSError:
    ENODEV for no such interface, EEXIST for a name that is taken there.
    """
    index = interface_index(name)
    if index is None:
        raise OSError(errno.ENODEV, "no such interface", name)
    with _errors_of_netlink(), route() as here, route(netns) as there, netns.open() as file:
        # The kernel would move it under its old name, and fail then.
        if there.link_lookup(ifname=inside):
            raise OSError(errno.EEXIST, "the name is taken", inside)
        kept = [
            {"address": entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"),
             "prefixlen": entry["prefixlen"], "family": entry["family"]}
            for entry in here.get_addr(index=index)
            if entry["scope"] == 0 and entry["flags"] & _IFA_F_PERMANENT
        ]  # fmt: skip
        here.link("set", index=index, net_ns_fd=file.fileno(), ifname=inside)
        moved = there.link_lookup(ifname=inside)[0]
        for address in kept:
            there.addr("add", index=moved, **address)
        there.link("set", index=moved, state="up")


@contextlib.contextmanager
def _errors_of_netlink() -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def own_addresses(interface: str) -> tuple[tuple[str, str], ...]:
    """The addresses of an interface of this namespace, each with the interface's MAC."""
    with route() as handle:
        index = handle.link_lookup(ifname=interface)[0]
        mac = handle.get_links(index)[0].get_attr("IFLA_ADDRESS")
        found = list(handle.get_addr(index=index))
    return tuple((entry.get_attr("IFA_ADDRESS"), mac) for entry in found)


def teach(netns: Path, interface: str, known: Iterable[tuple[str, str]]) -> None:
    """Enter neighbours as stale ones: used at once, confirmed soon (RFC 4861, 7.3.2)."""
    from pyroute2 import NetlinkError

    with route(netns) as handle:
        index = handle.link_lookup(ifname=interface)[0]
        for ip, mac in known:
            try:
                handle.neigh("replace", ifindex=index, dst=ip, lladdr=mac, state=_NUD_STALE)
            except NetlinkError:
                if ":" not in ip:  # IPv6 may be off here: then it knows nobody by it
                    raise
    with inside(netns), contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        for version in ("ipv4", "ipv6"):
            path = Path(f"/proc/sys/net/{version}/neigh/{interface}/retrans_time_ms")
            path.write_text(str(_ARP_RETRY_MS))


def forget_neighbour(interface: str, address: str) -> None:
    """Remove what this namespace knows of a neighbour; no error when that is nothing."""
    with contextlib.suppress(OSError), _errors_of_netlink(), route() as handle:
        for index in handle.link_lookup(ifname=interface):
            handle.neigh("del", ifindex=index, dst=address)


def announce(netns: Path, interface: str, address: str, address6: str = "") -> None:
    """Tell the link of `interface` of `netns` who has the addresses; raises OSError.

    "" for none of a kind.
    """
    with inside(netns):
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with _closed_aside(packet):
        packet.bind((interface, 0))
        for frame in announcements(packet.getsockname()[4], address, address6):
            packet.send(frame)


def announcements(mac: bytes, address: str, address6: str) -> list[bytes]:
    """The frames that tell a link who has an IPv4 and an IPv6 address, "" for none."""
    frames = gratuitous_arp(mac, address) if address else []
    return [*frames, icmpv6.unsolicited_advertisement(mac, address6)] if address6 else frames


def gratuitous_arp(mac: bytes, address: str) -> list[bytes]:
    """The frames that tell a link who has `address`: a request and an answer (RFC 5227, 3)."""
    ip = socket.inet_aton(address)
    frames = []
    for operation in (1, 2):
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        target = _BROADCAST if operation == 2 else b"\0" * 6
        frames.append(_BROADCAST + mac + b"\x08\x06" + body + mac + ip + target + ip)
    return frames


def send_frames(interface: str, frames: Iterable[bytes]) -> None:
    """Send whole Ethernet frames from an interface of this namespace; raises OSError."""
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with _closed_aside(packet):
        packet.bind((interface, 0))
        for frame in frames:
            packet.send(frame)


@contextlib.contextmanager
def _closed_aside(packet: socket.socket) -> Iterator[None]:
    """For sockets that are used within a pause: nothing waits for the end of a packet socket.

    To close one, the kernel waits for all that might be receiving by it, about 20 ms (Linux,
    net/packet/af_packet.c, packet_release, synchronize_net); to bind one that receives, as well.
    """
    try:
        yield
    finally:
        threading.Thread(target=packet.close, name="close").start()


def answers_arp(interface: str, address: str, wait: float = 0.3) -> bool:
    """Whether somebody on the link of `interface` has `address`: an ARP probe (RFC 5227, 2.1.1).

    `wait` is in seconds.
    """
    ip = socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as packet:
        packet.bind((interface, _ETH_P_ARP))
        packet.settimeout(wait)
        mac = packet.getsockname()[4]
        header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        packet.send(_BROADCAST + mac + b"\x08\x06" + header + mac + b"\0" * 10 + ip)
        try:
            while True:
                frame = packet.recv(64)
                if frame[20:22] == b"\0\x02" and frame[28:32] == ip:
                    return True
        except TimeoutError:
            return False
