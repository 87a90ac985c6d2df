"""What the kernel knows of one TCP connection, asked by its addresses (sock_diag(7)).

Numbers: Linux, include/uapi/linux/sock_diag.h and inet_diag.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from migrate.kernel.netlinkwire import Channel

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 without the socket's identity
_IDENTITY = struct.Struct("!HH16s16s")  # struct inet_diag_sockid: ports, source, destination
_ANY_INTERFACE, _NO_COOKIE = bytes(4), b"\xff" * 8
_ANSWER = struct.Struct("=BBBB48x5I")  # struct inet_diag_msg
_EVERY_STATE = 0xFFFFFFFF
_REPEATING = 1  # idiag_timer: the one that sends again what nobody has acknowledged


@dataclass(frozen=True)
class Connection:
    """A connection of this network namespace, by the addresses of its ends."""

    here: str
    here_port: int
    there: str
    there_port: int


def repetitions(connection: Connection) -> int:
    """How often in a row the kernel has sent the same bytes again without an answer.

    Raises OSError where there is no such connection, or the kernel does not tell; ValueError for
    what is no address.
    """
    here, there = (ipaddress.ip_address(text) for text in (connection.here, connection.there))
    family = socket.AF_INET if here.version == 4 else socket.AF_INET6
    asked = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _EVERY_STATE) + _IDENTITY.pack(
        connection.here_port, connection.there_port, here.packed, there.packed
    )
    with Channel(None, _SOCK_DIAG) as channel:
        answer = channel.fetch(_BY_FAMILY, asked + _ANY_INTERFACE + _NO_COOKIE, _ANSWER.size)
    _family, _state, timer, repeated, *_ = _ANSWER.unpack(answer.header)
    return int(repeated) if timer == _REPEATING else 0
