"""Neighbour discovery (RFC 4861) as whole Ethernet frames."""

from __future__ import annotations

import socket
import struct

from migrate.kernel.checksum import internet_checksum

ETH_P_IPV6 = 0x86DD
_ICMPV6 = 58
_HOP_LIMIT = 255
"""A neighbour takes nothing that could have passed a router (RFC 4861, 7.1)."""
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x2000_0000
_TARGET_LINK_LAYER = 2
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"


def unsolicited_advertisement(mac: bytes, address: str) -> bytes:
    """The frame by which all nodes of a link learn who has an IPv6 address now (7.2.6)."""
    target = socket.inet_pton(socket.AF_INET6, address)
    option = struct.pack("!BB", _TARGET_LINK_LAYER, 1) + mac
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + target + option
    checked = body[:2] + struct.pack("!H", _checksum(target, _ALL_NODES, body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, _HOP_LIMIT) + target + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", ETH_P_IPV6) + header + checked


def solicits(frame: bytes, address: bytes) -> bool:
    """Whether the frame asks for the MAC of `address` (16 bytes): a neighbour solicitation."""
    return (
        len(frame) >= 14 + 40 + 24
        and frame[12:14] == b"\x86\xdd"
        and frame[20] == _ICMPV6
        and frame[54] == _SOLICITATION
        and frame[62:78] == address
    )


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """Over the pseudo-header and the message (RFC 8200, 8.1)."""
    pseudo = source + destination + struct.pack("!II", len(body), _ICMPV6)
    return internet_checksum(pseudo + body)
