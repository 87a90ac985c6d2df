"""The value: all that a network namespace holds besides what its driver makes and sockets."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import msgspec

from migrate.kernel import conntrack, links, netobjects, netsysctls, ruleset
from migrate.kernel.conntrack import Connection
from migrate.kernel.links import Link
from migrate.kernel.netlinkwire import number, unpack
from migrate.kernel.netobjects import Object
from migrate.kernel.ruleset import Entry
from migrate.runtime.records import Network

INSIDE = "eth0"
"""The interface that the drivers make; lo the kernel."""
MADE = ("lo", INSIDE)
MOST_LINKS, MOST_SETTINGS, MOST_OBJECTS = 256, 16384, 16384
MOST_CONNECTIONS = 8192
MOST_RULESET = 3 << 20
"""Bytes; of the description, which is bounded itself, it is the largest part."""
_GATEWAYS = ("169.254.1.1", "fe80::1")  # of the driver routed
_PREFERENCE = 6  # FRA_PRIORITY, include/uapi/linux/fib_rules.h
_USUAL_RULES = {(2, 0), (2, 32766), (2, 32767), (10, 0), (10, 32766)}


class Contents(msgspec.Struct, frozen=True, omit_defaults=True):
    """`settings`: what is not as in a new namespace, by paths beneath /proc/sys/net.

    `objects` by the name of their kind. `connections`: those that are tracked, for the rules that
    ask for their state. `places`: whether interfaces and addresses go along; not
    where the container gets new ones.
    """

    settings: dict[str, str] = {}
    links: tuple[Link, ...] = ()
    objects: dict[str, tuple[Object, ...]] = {}
    ruleset: tuple[Entry, ...] = ()
    connections: tuple[Connection, ...] = ()
    places: bool = True


def check(found: Contents) -> None:
    """Raise ValueError for what can't be put in, whoever has told it."""
    sizes = (
        (len(found.settings), MOST_SETTINGS), (len(found.links), MOST_LINKS),
        (len(found.connections), MOST_CONNECTIONS),
        (sum(map(len, found.objects.values())), MOST_OBJECTS),
        (sum(len(entry.attributes) + 8 for entry in found.ruleset), MOST_RULESET),
    )  # fmt: skip
    if any(size > most for size, most in sizes):
        raise ValueError("there is more in the network namespace than can be carried")
    netsysctls.check(found.settings)
    for link in found.links:
        (links.check_settings if link.name in MADE else links.check)(link)
    if len({link.name for link in found.links} | {""}) != len(found.links) + 1:
        raise ValueError("two interfaces have one name")
    kinds = {kind.name: kind for kind in netobjects.KINDS}
    for name, objects in found.objects.items():
        if name not in kinds:
            raise ValueError(f"objects of the kind '{name[:20]}' are not known")
        for each in objects:
            kinds[name].check(each)
    ruleset.check(found.ruleset)
    conntrack.check(found.connections)


def added(found: Contents, network: Network) -> Iterator[str]:
    """What is there beyond what the network's driver makes, in words."""
    if found.ruleset:
        yield "nftables rules"
    if more := [link.name for link in found.links if link.name not in MADE]:
        yield f"interfaces ({', '.join(more[:3])})"
    if any(name not in _of_made(found) for name in found.settings):
        name = next(name for name in sorted(found.settings) if name not in _of_made(found))
        yield f"settings (net.{name.replace('/', '.')})"
    yield from added_places(found, network)


def added_places(found: Contents, network: Network) -> Iterator[str]:
    """As `added`: what hangs on the container's addresses and interfaces."""
    own = {str(ipaddress.ip_interface(a).ip) for a in (network.address, network.address6) if a}
    own |= {"127.0.0.1", "::1"}
    objects = found.objects
    if any(_destination(o, 2) or _destination(o, 1) not in own for o in _strangers(found, own)):
        yield "addresses"
    if any(o.header[1] and _destination(o, 1) not in _GATEWAYS for o in objects.get("route", ())):
        yield "routes"
    if any(_destination(o, 1) not in _GATEWAYS for o in objects.get("neighbour", ())):
        yield "neighbours"
    if {_preference(o) for o in objects.get("rule", ())} != _USUAL_RULES and objects.get("rule"):
        yield "routing rules"


def _strangers(found: Contents, own: set[str]) -> list[Object]:
    addresses = found.objects.get("address", ())
    return [o for o in addresses if (_destination(o, 2) or _destination(o, 1)) not in own]


def _of_made(found: Contents) -> set[str]:
    return {name for made in MADE for name in netsysctls.of_interface(found.settings, made)}


def _destination(made: Object, kind: int) -> str:
    value = dict(unpack(made.attributes)).get(kind, b"")
    return str(ipaddress.ip_address(value)) if len(value) in {4, 16} else ""


def _preference(made: Object) -> tuple[int, int]:
    value = dict(unpack(made.attributes)).get(_PREFERENCE, struct.pack("=I", 0))
    return made.header[0], number(value)
