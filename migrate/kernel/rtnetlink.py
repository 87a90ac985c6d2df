"""Routes, neighbours and forwarding entries by plain rtnetlink(7) messages.

For what is switched inside a pause: a message takes some 50 us, and no library is loaded. All else
is pyroute2's (`netlink.py`). Every function works on the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

# include/uapi/linux/rtnetlink.h, neighbour.h, netlink.h
_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_NEW_NEIGHBOUR, _DELETE_NEIGHBOUR = 28, 29
_REQUEST, _ACK, _REPLACE, _CREATE, _APPEND = 0x1, 0x4, 0x100, 0x400, 0x800
_ERROR = 2
_TABLE_MAIN = 254
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_UNICAST, _BLACKHOLE = 1, 6
_ONLINK = 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2
_NTF_SELF, _NTF_MASTER, _NTF_EXT_LEARNED = 0x02, 0x04, 0x10
_NUD_REACHABLE, _NUD_NOARP, _NUD_PERMANENT = 0x02, 0x40, 0x80

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxHiHBB")
_BRIDGE_FAMILY = 7  # AF_BRIDGE
_LIMIT = 2.0  # seconds
PROTOCOL_HERE, PROTOCOL_ELSEWHERE = 109, 110
"""Of our routes to containers of this host, and to those of others (rtm_protocol); no routing
daemon's (include/uapi/linux/rtnetlink.h, RTPROT_*)."""
EVERYONE = "00:00:00:00:00:00"
"""The forwarding entry of a VXLAN device for what has none of its own (Linux, vxlan.rst)."""


def replace_route(
    address: str, *, interface: str = "", gateway: str = "", source: str = "", protocol: int
) -> None:  # fmt: skip
    """Make this the one route to a host address, in one step; raises OSError.

    By an interface, by a gateway on its link (whatever the addresses there), or with neither: what
    is sent there is dropped. `source`: the address that this host itself sends from.
    """
    family, packed = _packed(address)
    attributes = [(_RTA_DST, packed)]
    scope, kind, flags = _SCOPE_LINK, _UNICAST, 0
    if not interface:
        scope, kind = _SCOPE_UNIVERSE, _BLACKHOLE
    else:
        attributes.append((_RTA_OIF, struct.pack("=i", socket.if_nametoindex(interface))))
    if gateway:
        scope, flags = _SCOPE_UNIVERSE, _ONLINK
        attributes.append((_RTA_GATEWAY, _packed(gateway)[1]))
    if source:
        attributes.append((_RTA_PREFSRC, _packed(source)[1]))
    if family == socket.AF_INET6:
        scope = _SCOPE_UNIVERSE
    body = _ROUTE.pack(
        family, len(packed) * 8, 0, 0, _TABLE_MAIN, protocol, scope, kind, flags
    )  # fmt: skip
    _ask(_NEW_ROUTE, _CREATE | _REPLACE, body, attributes)


def remove_route(address: str, *, protocol: int) -> None:
    """Remove the route to a host address, if it is of that protocol; raises OSError (ESRCH)."""
    family, packed = _packed(address)
    body = _ROUTE.pack(
        family, len(packed) * 8, 0, 0, _TABLE_MAIN, protocol, _SCOPE_NOWHERE, 0, 0
    )  # fmt: skip
    _ask(_DELETE_ROUTE, 0, body, [(_RTA_DST, packed)])


def replace_neighbour(interface: str, address: str, mac: str) -> None:
    """Enter a neighbour that is known for good; raises OSError."""
    family, packed = _packed(address)
    body = _neighbour(family, interface, _NUD_PERMANENT, 0)
    _ask(_NEW_NEIGHBOUR, _CREATE | _REPLACE, body, [(_NDA_DST, packed), _mac(mac)])


def remove_neighbour(interface: str, address: str) -> None:
    """Raises OSError (ENOENT: there is none)."""
    family, packed = _packed(address)
    _ask(_DELETE_NEIGHBOUR, 0, _neighbour(family, interface, 0, 0), [(_NDA_DST, packed)])


def send_by(device: str, mac: str, host: str) -> None:
    """Have a VXLAN device send frames for `mac` to `host`, until a frame tells otherwise.

    Entered as if it had been learned: one that is static would not follow a container that moves
    (Linux, drivers/net/vxlan/vxlan_core.c, vxlan_snoop). Raises OSError.
    """
    body = _neighbour(_BRIDGE_FAMILY, device, _NUD_REACHABLE, _NTF_SELF)
    _ask(_NEW_NEIGHBOUR, _CREATE | _REPLACE, body, [(_NDA_DST, _packed(host)[1]), _mac(mac)])


def send_to_all_by(device: str, host: str) -> None:
    """Add `host` to those that get what a VXLAN device sends to everyone; raises OSError.

    It is no error, and nothing is changed, when it is one of them already.
    """
    body = _neighbour(_BRIDGE_FAMILY, device, _NUD_PERMANENT | _NUD_NOARP, _NTF_SELF)
    attributes = [(_NDA_DST, _packed(host)[1]), _mac(EVERYONE)]
    _ask(_NEW_NEIGHBOUR, _CREATE | _APPEND, body, attributes)


def send_no_more_by(device: str, mac: str) -> None:
    """Forget where a VXLAN device sends frames for `mac`; raises OSError (ENOENT)."""
    body = _neighbour(_BRIDGE_FAMILY, device, 0, _NTF_SELF)
    _ask(_DELETE_NEIGHBOUR, 0, body, [_mac(mac)])


def expect_behind(port: str, mac: str) -> None:
    """Have the port's bridge send frames for `mac` there; it does not age, but may roam.

    Raises OSError.
    """
    body = _neighbour(_BRIDGE_FAMILY, port, _NUD_REACHABLE, _NTF_MASTER | _NTF_EXT_LEARNED)
    _ask(_NEW_NEIGHBOUR, _CREATE | _REPLACE, body, [_mac(mac)])


def expect_no_more_behind(port: str, mac: str) -> None:
    """Undo `expect_behind`; raises OSError (ENOENT: it is not there, or behind another port)."""
    body = _neighbour(_BRIDGE_FAMILY, port, 0, _NTF_MASTER)
    _ask(_DELETE_NEIGHBOUR, 0, body, [_mac(mac)])


def _neighbour(family: int, interface: str, state: int, flags: int) -> bytes:
    return _NEIGHBOUR.pack(family, 0, socket.if_nametoindex(interface), state, flags, 0)


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _mac(address: str) -> tuple[int, bytes]:
    return _NDA_LLADDR, bytes.fromhex(address.replace(":", ""))


def _ask(kind: int, flags: int, body: bytes, attributes: list[tuple[int, bytes]]) -> None:
    for number, value in attributes:
        padding = -len(value) % 4
        body += struct.pack("=HH", 4 + len(value), number) + value + b"\0" * padding
    length = _HEADER.size + len(body)
    message = _HEADER.pack(length, kind, flags | _REQUEST | _ACK, 1, 0) + body
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as handle:
        handle.settimeout(_LIMIT)
        handle.bind((0, 0))
        handle.send(message)
        answer = handle.recv(4096)
    if len(answer) < _HEADER.size + 4 or _HEADER.unpack_from(answer)[1] != _ERROR:
        raise OSError(errno.EPROTO, "the kernel's answer is no acknowledgement")
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    if code:
        raise OSError(code, os.strerror(code))
