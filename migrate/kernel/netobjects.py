"""Addresses, routes, neighbours and rules of a network namespace, as rtnetlink(7) has them.

An object is a message without what only the kernel says of it (statistics, timers, what an
interface learned), so that two namespaces can be compared, and one be made like the other. What the
kernel makes by itself (its routes to an address, neighbours that it has learned) is no object.
Numbers: Linux, include/uapi/linux/if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from migrate.kernel.netlinkwire import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Attribute,
    Channel,
    Message,
    number,
    pack,
    unpack,
)

_FAMILIES = {socket.AF_INET, socket.AF_INET6}
_ADDRESS, _ROUTE, _NEIGHBOUR = (struct.Struct(s) for s in ("=BBBBI", "=BBBBBBBBI", "=BxHiHBB"))
_RULE = struct.Struct("=BBBBBBBBI")
_NODAD, _PERMANENT, _KEPT_ADDRESS_FLAGS = 0x02, 0x80, 0x10 | 0x100 | 0x200 | 0x400
_IFA_ADDRESS, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 6, 8, 11
_BY_THE_KERNEL = {1, 2, 3}  # IFAPROT_KERNEL_LO, _RA and _LL
_RTA_OIF, _RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_TTL = 4, 9, 12, 26
_RTA_VIA_OTHERS = {21: "an encapsulation", 22: "an encapsulation", 30: "a nexthop object"}
_OF_THE_KERNEL = {1, 2, 9}  # RTPROT_REDIRECT, _KERNEL and _RA
_CLONED, _ONLINK = 0x200, 0x4
_NUD_PERMANENT, _NTF_PROXY, _NTF_ROUTER = 0x80, 0x08, 0x80
_INVERT = 0x2  # FIB_RULE_INVERT
_HOP = struct.Struct("=HBBi")  # struct rtnexthop


class NotKnown(ValueError):
    """An object has something that can't be put in elsewhere; its words say what."""


@dataclass(frozen=True)
class Object:
    """One of `KINDS`, with the attributes packed in the order of their numbers."""

    header: bytes
    attributes: bytes


@dataclass(frozen=True)
class Kind:
    """How such objects are asked for, and which attributes of them are kept or left away."""

    name: str
    get: int
    new: int
    delete: int
    header: struct.Struct
    kept: frozenset[int]
    left: frozenset[int]
    refine: Callable[[Message], tuple[bytes, list[Attribute]] | None]
    flags: int
    proxies: bool = False

    def look(self, channel: Channel) -> list[Object]:
        """Those of a namespace, in the kernel's order; raises OSError, NotKnown."""
        blank = bytes(self.header.size)
        found = channel.dump(self.get, blank)
        if self.proxies:
            found += channel.dump(self.get, _NEIGHBOUR.pack(0, 0, 0, 0, _NTF_PROXY, 0))
        objects = (self.object_of(message) for message in found)
        return [made for made in objects if made]

    def object_of(self, message: Message) -> Object | None:
        """None for what the kernel makes by itself; raises NotKnown."""
        if message.header[0] not in _FAMILIES:
            return None
        refined = self.refine(message)
        if refined is None:
            return None
        header, attributes = refined
        for kind, _value in attributes:
            if kind not in self.kept and kind not in self.left:
                raise NotKnown(f"{_RTA_VIA_OTHERS.get(kind, f'the attribute {kind}')}")
        kept = sorted(pair for pair in attributes if pair[0] in self.kept)
        return Object(header, pack(kept))

    def check(self, made: Object) -> None:
        """Raise ValueError for what can't be such an object, whoever made it."""
        if len(made.header) != self.header.size or made.header[0] not in _FAMILIES:
            raise ValueError(f"a {self.name} has another header")
        if unknown := {kind for kind, _ in unpack(made.attributes)} - self.kept:
            raise ValueError(f"a {self.name} has the attribute {min(unknown)}")

    def put(self, channel: Channel, made: Object) -> None:
        """Raises OSError."""
        channel.ask(self.new, self.flags, made.header, unpack(made.attributes))

    def remove(self, channel: Channel, made: Object) -> None:
        """Raises OSError."""
        channel.ask(self.delete, 0, made.header, unpack(made.attributes))

    def is_of_old_kernels(self, made: Object) -> bool:
        """Whether the kernel may have made it: before Linux 5.18 it does not say so (IFA_PROTO).

        lo's own addresses, and link-local ones.
        """
        if self.name != "address":
            return False
        value = dict(unpack(made.attributes)).get(_IFA_ADDRESS, b"")
        is_link_local = len(value) == 16 and value[0] == 0xFE and value[1] & 0xC0 == 0x80
        return is_link_local or value in {b"\x7f\0\0\1", bytes(15) + b"\1"}

    def renumbered(self, made: Object, numbers: Mapping[int, int]) -> Object:
        """The same at interfaces with other numbers; raises ValueError for one not told."""
        header = made.header
        if self.name == "address":
            family, length, flags, scope, index = _ADDRESS.unpack(header)
            header = _ADDRESS.pack(family, length, flags, scope, _other(numbers, index))
        if self.name == "neighbour":
            family, _pad, index, state, flags, kind = _NEIGHBOUR.unpack(header)
            other = _other(numbers, index) if index else 0
            header = _NEIGHBOUR.pack(family, 0, other, state, flags, kind)
        if self.name != "route":
            return Object(header, made.attributes)
        attributes = [
            (kind, _renumbered_hops(kind, value, numbers))
            for kind, value in unpack(made.attributes)
        ]
        return Object(header, pack(attributes))


def _other(numbers: Mapping[int, int], index: int) -> int:
    try:
        return numbers[index]
    except KeyError:
        raise ValueError(f"there is no interface {index}") from None


def _renumbered_hops(kind: int, value: bytes, numbers: Mapping[int, int]) -> bytes:
    if kind == _RTA_OIF:
        return struct.pack("=I", _other(numbers, number(value)))
    if kind != _RTA_MULTIPATH:
        return value
    return b"".join(
        _HOP.pack(_HOP.size + len(rest), flags, weight, _other(numbers, index)) + rest
        for flags, weight, index, rest in _hops(value)
    )


def _hops(value: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Flags that are kept, weight, interface and attributes of each way of a route."""
    at = 0
    while at + _HOP.size <= len(value):
        length, flags, weight, index = _HOP.unpack_from(value, at)
        if length < _HOP.size:
            raise ValueError("a route has a way of no length")
        rest = value[at + _HOP.size : at + length]
        if any(kind in _RTA_VIA_OTHERS for kind, _ in unpack(rest)):
            raise NotKnown("an encapsulation")
        yield flags & _ONLINK, weight, index, rest + bytes(-len(rest) % 4)
        at += length + 3 & ~3


def _refined_address(message: Message) -> tuple[bytes, list[Attribute]] | None:
    family, length, low_flags, scope, index = _ADDRESS.unpack(message.header)
    flags = number(message.get(_IFA_FLAGS)) or low_flags
    origin = number(message.get(_IFA_PROTO))
    if origin in _BY_THE_KERNEL or (family == socket.AF_INET6 and not flags & _PERMANENT):
        return None
    kept = flags & _KEPT_ADDRESS_FLAGS | (_NODAD if family == socket.AF_INET6 else 0)
    attributes = [(k, v) for k, v in message.attributes if k not in {_IFA_FLAGS, _IFA_CACHEINFO}]
    if not flags & _PERMANENT:  # preferred and valid for so long; not when it was made
        attributes.append((_IFA_CACHEINFO, (message.get(_IFA_CACHEINFO) or b"")[:8] + bytes(8)))
    attributes.append((_IFA_FLAGS, struct.pack("=I", kept)))
    return _ADDRESS.pack(family, length, kept & 0xFF, scope, index), attributes


def _refined_route(message: Message) -> tuple[bytes, list[Attribute]] | None:
    *fields, protocol, scope, kind, flags = _ROUTE.unpack(message.header)
    if protocol in _OF_THE_KERNEL or flags & _CLONED:
        return None
    header = _ROUTE.pack(*fields, protocol, scope, kind, flags & _ONLINK)
    attributes = [
        (number, b"".join(
            _HOP.pack(_HOP.size + len(rest), kept, weight, index) + rest
            for kept, weight, index, rest in _hops(value)
        ) if number == _RTA_MULTIPATH else value)
        for number, value in message.attributes
    ]  # fmt: skip
    return header, attributes


def _refined_neighbour(message: Message) -> tuple[bytes, list[Attribute]] | None:
    header = message.header
    family, _pad, index, state, flags, kind = _NEIGHBOUR.unpack(header)
    if not flags & _NTF_PROXY and not state & _NUD_PERMANENT:
        return None
    # Of a proxy the kernel does not tell it; one that is not permanent goes with the carrier.
    made = _NEIGHBOUR.pack(
        family, 0, index, _NUD_PERMANENT, flags & (_NTF_PROXY | _NTF_ROUTER), kind
    )
    return made, list(message.attributes)


def _refined_rule(message: Message) -> tuple[bytes, list[Attribute]] | None:
    *fields, flags = _RULE.unpack(message.header)
    return _RULE.pack(*fields, flags & _INVERT), list(message.attributes)


ADDRESS = Kind(
    "address", 22, 20, 21, _ADDRESS, frozenset({1, 2, 3, 4, 5, 6, 8, 9}), frozenset({11}),
    _refined_address, CREATE | REPLACE,
)  # fmt: skip
ROUTE = Kind(
    "route", 26, 24, 25, _ROUTE, frozenset({1, 2, 4, 5, 6, 7, 8, 9, 11, 15, 18, 20, 23}),
    frozenset({_RTA_CACHEINFO, _RTA_TTL, 29}), _refined_route, CREATE | APPEND,
)  # fmt: skip
NEIGHBOUR = Kind(
    "neighbour", 30, 28, 29, _NEIGHBOUR, frozenset({1, 2, 5, 12}), frozenset({3, 4, 14, 15}),
    _refined_neighbour, CREATE | REPLACE, proxies=True,
)  # fmt: skip
RULE = Kind(
    "rule", 34, 32, 33, _RULE,
    frozenset({1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24}),
    frozenset({18}), _refined_rule, CREATE | EXCLUSIVE,
)  # fmt: skip
KINDS = (ADDRESS, RULE, ROUTE, NEIGHBOUR)
"""In the order in which they are put in."""
