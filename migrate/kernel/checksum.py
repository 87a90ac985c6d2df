"""The Internet's checksum (RFC 1071), which IP, TCP, UDP and ICMPv6 have in their headers."""

from __future__ import annotations

import struct


def internet_checksum(data: bytes) -> int:
    """Of `data`, in which the field for it is zero."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
