"""The network beneath one over several hosts: by which interface and address a host is in it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.kernel import netlink
from migrate.runtime.errors import NetworkFailed

_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253
_ANY_PORT = 9


@dataclass(frozen=True)
class Underlay:
    """This host's place in it, and the others' addresses."""

    interface: str
    address: str
    address6: str
    """A global or link-local IPv6 address of the interface, "" where it has none: IPv6 routes of
    hosts on one link go by it."""
    mtu: int
    peers: tuple[str, ...]
    """Without this host's own address: the same list can be given on every host."""


def find(peers: Iterable[str], parent: str = "") -> Underlay:
    """The place by which the peers are reached, or that of the interface `parent`.

    Raises NetworkFailed: no peer's address belongs to the network of an interface or has a route.
    """
    wanted = list(dict.fromkeys(peers))
    with netlink.route() as host:
        interfaces = {link["index"]: link.get_attr("IFLA_IFNAME") for link in host.get_links()}
        entries = list(host.get_addr())
    own = {_address(entry): interfaces[entry["index"]] for entry in entries}
    others = tuple(peer for peer in wanted if peer not in own)
    if parent:
        address = next((a for a, name in own.items() if name == parent and ":" not in a), "")
    else:
        address = next((peer for peer in wanted if peer in own), "") or _source_to(others)
    interface = own.get(address, "")
    if not interface:
        raise NetworkFailed(
            "this host's address in the underlay is not known",
            cause=f"the interface {parent} has no IPv4 address" if parent else "it has no peers",
            mend="give the other hosts' addresses with 'migrate network create --peer'",
        )
    mtu = int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    return Underlay(interface, address, _address6(entries, interfaces, interface), mtu, others)


def everyone(peers: Iterable[str], parent: str = "") -> tuple[str, ...]:
    """The addresses of all hosts that are in it, this one's among them where it is known."""
    wanted = tuple(peers)
    with contextlib.suppress(NetworkFailed):
        place = find(wanted, parent) if wanted else None
        return (place.address, *place.peers) if place else ()
    return wanted


def _address(entry: Any) -> str:
    return str(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))


def _address6(entries: Iterable[Any], interfaces: dict[int, str], interface: str) -> str:
    """A global one before a link-local one."""
    found = sorted(
        (entry["scope"], _address(entry)) for entry in entries
        if interfaces[entry["index"]] == interface and entry["family"] == socket.AF_INET6
        and entry["scope"] in {_SCOPE_GLOBAL, _SCOPE_LINK}
    )  # fmt: skip
    return found[0][1] if found else ""


def _source_to(peers: Iterable[str]) -> str:
    """The address that packets to the first reachable one are sent from; nothing is sent."""
    for peer in peers:
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                probe.connect((peer, _ANY_PORT))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return ""
