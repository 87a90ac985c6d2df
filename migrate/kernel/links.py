"""Interfaces of a network namespace as values, and made of them again, by plain rtnetlink(7).

Of kinds that live in one namespace and hold nothing but settings. Numbers: Linux,
include/uapi/linux/if_link.h, if_bridge.h, veth.h; net/if.h for the flags.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from migrate.kernel.netlinkwire import (
    CREATE,
    EXCLUSIVE,
    NESTED,
    Attribute,
    Channel,
    Message,
    number,
    pack,
    text,
    unpack,
)

_NEW, _DELETE, _GET = 16, 17, 18  # RTM_*LINK
_HEADER = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_QUEUE, _IFLA_INFO, _IFLA_ALIAS, _IFLA_MASK, _IFLA_NETNSID = 13, 18, 20, 29, 37
_IFLA_XDP, _IFLA_OTHER_NAMES = 43, 52
_INFO_KIND, _INFO_DATA, _INFO_PORT_KIND, _INFO_PORT_DATA = 1, 2, 4, 5
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_VETH_PEER = 1  # VETH_INFO_PEER
_MOST_OPTIONS = 8192  # bytes
_VLAN_FILTERING = 7  # IFLA_BR_VLAN_FILTERING
UP = 0x1
_KEPT_FLAGS = UP | 0x80 | 0x100 | 0x200 | 0x1000  # NOARP, PROMISC, ALLMULTI, MULTICAST

_BRIDGE = frozenset({1, 2, 3, 4, 5, 6, 9, *range(22, 39), 42, 43, 44})
_BRIDGE_PORT = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 25, 27, 28, 30, 32, 33})
OPTIONS = {
    "dummy": frozenset[int](), "bridge": _BRIDGE, "vlan": frozenset({1, 2, 3, 4, 5}),
    "veth": frozenset[int](),
}  # fmt: skip
"""The kinds that are known, and which settings of them (IFLA_INFO_DATA) are kept."""
PORT_OPTIONS = {"bridge": _BRIDGE_PORT}
"""By the kind of the master: settings of a port (IFLA_INFO_SLAVE_DATA)."""


@dataclass(frozen=True)
class Link:
    """An interface; `lower`, `peer` and `master` are the numbers of others, 0 for none.

    `options` and `port_options` are the kernel's attributes as they were told. `flags`: those that
    somebody sets, as up and promiscuous. `complaint`: what of it can't be made elsewhere.
    """

    index: int
    name: str
    kind: str
    mac: bytes
    mtu: int
    queue: int
    flags: int
    lower: int = 0
    peer: int = 0
    master: int = 0
    options: bytes = b""
    port_kind: str = ""
    port_options: bytes = b""
    alias: str = ""
    outside: bool = False  # its other end is in another namespace
    complaint: str = ""

    @property
    def up(self) -> bool:
        """Whether somebody has set it up."""
        return bool(self.flags & UP)


def look(channel: Channel) -> list[Link]:
    """All interfaces of a namespace; raises OSError."""
    header = _HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    mask = [(_IFLA_MASK, struct.pack("=I", _SKIP_STATISTICS))]
    return [_link_of(message) for message in channel.dump(_GET, header, mask)]


def _link_of(message: Message) -> Link:
    _family, _type, index, flags, _change = _HEADER.unpack(message.header)
    information = dict(unpack(message.get(_IFLA_INFO) or b""))
    kind, port_kind = text(information.get(_INFO_KIND)), text(information.get(_INFO_PORT_KIND))
    other, outside = number(message.get(_IFLA_LINK)), message.get(_IFLA_NETNSID) is not None
    options = unpack(information.get(_INFO_DATA) or b"")
    port_options = unpack(information.get(_INFO_PORT_DATA) or b"")
    is_veth = kind == "veth"
    return Link(
        index=index, name=text(message.get(_IFLA_NAME)), kind=kind,
        mac=message.get(_IFLA_ADDRESS) or b"", mtu=number(message.get(_IFLA_MTU)),
        queue=number(message.get(_IFLA_QUEUE)), flags=flags & _KEPT_FLAGS,
        lower=0 if is_veth or outside else other, peer=other if is_veth and not outside else 0,
        master=number(message.get(_IFLA_MASTER)),
        options=_kept(options, OPTIONS.get(kind, frozenset())), port_kind=port_kind,
        port_options=_kept(port_options, PORT_OPTIONS.get(port_kind, frozenset())),
        alias=text(message.get(_IFLA_ALIAS)), outside=outside,
        complaint=_complaint(message, kind, dict(options)),
    )  # fmt: skip


def _kept(options: Iterable[Attribute], wanted: frozenset[int]) -> bytes:
    return pack((kind, value) for kind, value in options if kind in wanted)


def _complaint(message: Message, kind: str, options: dict[int, bytes]) -> str:
    if message.get(_IFLA_OTHER_NAMES):
        return "has further names"
    attached = dict(unpack(message.get(_IFLA_XDP) or b""))
    if number(attached.get(2)):  # IFLA_XDP_ATTACHED
        return "has an XDP program"
    if kind == "bridge" and number(options.get(_VLAN_FILTERING)):
        return "is a bridge that filters VLANs"
    return ""


def check(link: Link) -> None:
    """Raise ValueError for what can't be made here, whoever has told it."""
    if link.kind not in OPTIONS or not 0 < link.index < 1 << 31:
        raise ValueError(f"an interface of the kind '{link.kind[:20]}' is not known")
    if {kind for kind, _ in unpack(link.options)} - OPTIONS[link.kind]:
        raise ValueError(f"a {link.kind} has settings that are not known")
    check_settings(link)


def check_settings(link: Link) -> None:
    """The same for what is only set, where the interface is there; raises ValueError."""
    name = link.name
    if not 0 < len(name) < 16 or name in {".", ".."} or not name.isprintable() or "/" in name:
        raise ValueError("an interface has no possible name")
    if not name.isascii() or " " in name or len(link.alias) > 255:
        raise ValueError("an interface has no possible name")
    if link.flags & ~_KEPT_FLAGS or not 0 <= link.mtu < 1 << 31 or not 0 <= link.queue < 1 << 31:
        raise ValueError(f"the interface {name} has impossible settings")
    if len(link.options) > _MOST_OPTIONS or len(link.port_options) > _MOST_OPTIONS:
        raise ValueError(f"the interface {name} has impossible settings")
    if link.port_kind not in {"", *PORT_OPTIONS}:
        raise ValueError(f"the interface {name} is a port of an unknown kind")
    known = PORT_OPTIONS.get(link.port_kind, frozenset())
    if {kind for kind, _ in unpack(link.port_options)} - known:
        raise ValueError(f"the interface {name} has settings as a port that are not known")


def make(channel: Channel, link: Link, peer: Link | None = None) -> None:
    """Make it, under its number, and its `peer` with it; both are down. Raises OSError."""
    data = link.options
    if peer:
        inner = _HEADER.pack(0, 0, peer.index, 0, 0) + pack(_described(peer))
        data = pack([(_VETH_PEER | NESTED, inner)])
    information = pack([(_INFO_KIND, link.kind.encode()), (_INFO_DATA | NESTED, data)])
    attributes = [*_described(link), (_IFLA_INFO | NESTED, information)]
    if link.lower:
        attributes.append((_IFLA_LINK, struct.pack("=I", link.lower)))
    header = _HEADER.pack(0, 0, link.index, 0, 0)
    channel.ask(_NEW, CREATE | EXCLUSIVE, header, attributes)


def _described(link: Link) -> list[Attribute]:
    found = [
        (_IFLA_NAME, link.name.encode() + b"\0"), (_IFLA_MTU, struct.pack("=I", link.mtu)),
        (_IFLA_QUEUE, struct.pack("=I", link.queue)),
    ]  # fmt: skip
    if len(link.mac) == 6:
        found.append((_IFLA_ADDRESS, link.mac))
    return found


def change(channel: Channel, index: int, was: Link, wanted: Link) -> None:
    """Give an interface that is there the settings of `wanted`, its master among them.

    `wanted.master` is a number here. Whether it is up comes last. Raises OSError.
    """
    attributes: list[Attribute] = []
    if was.mtu != wanted.mtu:
        attributes.append((_IFLA_MTU, struct.pack("=I", wanted.mtu)))
    if was.queue != wanted.queue:
        attributes.append((_IFLA_QUEUE, struct.pack("=I", wanted.queue)))
    if was.alias != wanted.alias:
        attributes.append((_IFLA_ALIAS, wanted.alias.encode() + b"\0"))
    if was.master != wanted.master:
        attributes.append((_IFLA_MASTER, struct.pack("=I", wanted.master)))
    if attributes:
        channel.ask(_NEW, 0, _HEADER.pack(0, 0, index, 0, 0), attributes)
    if wanted.port_options and was.port_options != wanted.port_options:
        information = pack([(_INFO_PORT_KIND, wanted.port_kind.encode()),
                            (_INFO_PORT_DATA | NESTED, wanted.port_options)])  # fmt: skip
        header = _HEADER.pack(0, 0, index, 0, 0)
        channel.ask(_NEW, 0, header, [(_IFLA_INFO | NESTED, information)])
    if was.flags != wanted.flags:
        header = _HEADER.pack(0, 0, index, wanted.flags, _KEPT_FLAGS)
        channel.ask(_NEW, 0, header, [])


def remove(channel: Channel, index: int) -> None:
    """Raises OSError."""
    channel.ask(_DELETE, 0, _HEADER.pack(0, 0, index, 0, 0), [])
