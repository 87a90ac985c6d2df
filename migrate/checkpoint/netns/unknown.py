"""What in a network namespace can't go along at all, and is looked for before a move."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel.libc import libc, oserror
from migrate.kernel.netlink import inside
from migrate.kernel.netlinkwire import Channel, text
from migrate.runtime.records import Network

_GET_QDISC, _GET_NEXTHOP = 38, 106  # include/uapi/linux/rtnetlink.h
_TC_HEADER = struct.Struct("=BxHiIII")  # struct tcmsg
_XFRM = 6  # NETLINK_XFRM
_GET_STATE, _GET_POLICY = 0x12, 0x15  # XFRM_MSG_GETSA and _GETPOLICY
_RAW_PROTOCOL = 255
_GET_INFO = 64  # IPT_SO_GET_INFO and IP6T_SO_GET_INFO, x_tables' ip_tables.h
_INFO = struct.Struct("=32sI5I5III")  # struct ipt_getinfo
_LEGACY = (
    ("ip_tables_names", socket.AF_INET, socket.IPPROTO_IP),
    ("ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6),
)


def complaints(pid: int, network: Network) -> Iterator[str]:
    """Of the namespace of a process, in words; raises OSError."""
    netns = Path(f"/proc/{pid}/ns/net")
    with Channel(netns, socket.NETLINK_ROUTE) as channel:
        yield from _traffic_control(channel, network)
        with contextlib.suppress(OSError):  # a kernel without them
            if channel.count(_GET_NEXTHOP, bytes(8)):
                yield "it has nexthop objects"
    with contextlib.suppress(OSError), Channel(netns, _XFRM) as channel:
        if channel.count(_GET_STATE, b"") or channel.count(_GET_POLICY, b""):
            yield "it has IPsec states or policies"
    with contextlib.suppress(OSError):
        if len(Path(f"/proc/{pid}/net/ip_vs").read_text().splitlines()) > 3:
            yield "it has virtual servers (ipvs)"
    for listing, family, level in _LEGACY:
        for table in _legacy_tables(pid, listing):
            if _has_rules(netns, family, level, table):
                yield f"its table '{table}' has rules of iptables-legacy"


def _traffic_control(channel: Channel, network: Network) -> Iterator[str]:
    """A queue that somebody has chosen has a handle; the driver's own is a token bucket."""
    ours = 1 if network.rate_out else 0
    for message in channel.dump(_GET_QDISC, _TC_HEADER.pack(0, 0, 0, 0, 0, 0)):
        kind, handle = text(message.get(1)), _TC_HEADER.unpack(message.header)[3]
        if kind == "tbf" and ours:
            ours = 0
        elif handle and kind not in {"mq", "noqueue", "pfifo_fast"}:
            yield f"it has traffic control ({kind})"


def _legacy_tables(pid: int, listing: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/net/{listing}").read_text().split()
    return []


def _has_rules(netns: Path, family: int, level: int, table: str) -> bool:
    """Whether there is more than a policy for each hook, and the entry that ends the table."""
    with inside(netns), socket.socket(family, socket.SOCK_RAW, _RAW_PROTOCOL) as handle:
        name = table.encode().ljust(32, b"\0")
        wanted = bytearray(name + bytes(_INFO.size - 32))
        told = _getsockopt(handle, level, bytes(wanted))
    _name, hooks, *_offsets, entries, _size = _INFO.unpack(told)
    return int(entries) > int(hooks).bit_count() + 1


def _getsockopt(handle: socket.socket, level: int, question: bytes) -> bytes:
    """getsockopt(2) whose buffer says what is asked; raises OSError."""
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    if libc.getsockopt(handle.fileno(), level, _GET_INFO, buffer, ctypes.byref(length)):
        raise oserror("getsockopt")
    return buffer.raw
