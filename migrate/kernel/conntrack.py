"""The kernel's table of tracked connections, of one network namespace.

Numbers: Linux, include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h and
nf_conntrack_tcp.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.netlink import inside
from migrate.kernel.netlinkwire import CREATE, NESTED, Attribute, Channel, pack, unpack

_SUBSYSTEM, _GET = 1, 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_HEADER = struct.Struct(">BBH")  # struct nfgenmsg
_STATUS, _PROTOCOL_STATE = 3, 4  # CTA_STATUS, CTA_PROTOINFO
_KEPT = frozenset({1, 2, 3, 4, 7, 8, 18, 22})  # tuples, state, timeout, mark, zone, labels
_EXPECTED, _NAT = 0x1, 0x30  # IPS_EXPECTED, IPS_NAT_MASK
_TCP, _TCP_FLAGS, _LIBERAL = 1, (4, 5), 0x08  # CTA_PROTOINFO_TCP*, IP_CT_TCP_FLAG_BE_LIBERAL


def tracked(pid: int) -> int | None:
    """How many connections are tracked in the network namespace of a process.

    The first column, `entries`, of /proc/PID/net/stat/nf_conntrack (Linux, net/netfilter/
    nf_conntrack_standalone.c, ct_cpu_seq_show). None where the kernel does not tell.
    """
    try:
        with Path(f"/proc/{pid}/net/stat/nf_conntrack").open() as file:
            file.readline()
            return int(file.readline().split()[0], 16)
    except (OSError, ValueError, IndexError):
        return None


class Count:
    """How many connections a namespace tracks, at the cost of a read; a context manager.

    To look at them takes some 8 ms however few they are: the kernel has one table for all
    namespaces.
    """

    def __init__(self, netns: Path) -> None:
        """Raises OSError where the kernel tracks none."""
        with inside(netns):
            path = "/proc/sys/net/netfilter/nf_conntrack_count"
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Count:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)

    def read(self) -> int:
        """Raises OSError."""
        return int(os.pread(self._descriptor, 32, 0))


@dataclass(frozen=True)
class Connection:
    """One that is tracked: its family, and its attributes, packed."""

    family: int
    attributes: bytes


def look(channel: Channel) -> list[Connection]:
    """Those of a namespace without NAT, by a channel to NETLINK_NETFILTER; raises OSError."""
    found = []
    for message in channel.dump(_SUBSYSTEM << 8 | _GET, _HEADER.pack(0, 0, 0)):
        status = int.from_bytes(message.get(_STATUS) or b"", "big")
        if not status & _NAT:
            kept = (pair for pair in message.attributes if pair[0] in _KEPT)
            found.append(Connection(message.header[0], pack(kept)))
    return found


def check(connections: Iterable[Connection]) -> None:
    """Raise ValueError for what can't be such a connection, whoever has told it."""
    for each in connections:
        numbers = {kind for kind, _ in unpack(each.attributes)}
        if each.family not in {socket.AF_INET, socket.AF_INET6} or numbers - _KEPT:
            raise ValueError("a tracked connection has something that is not known")


def put(channel: Channel, connections: Iterable[Connection]) -> int:
    """Have them tracked in another namespace; how many the kernel did not take."""
    failed = 0
    for each in connections:
        attributes = [_prepared(*pair) for pair in unpack(each.attributes)]
        try:
            channel.ask(_SUBSYSTEM << 8, CREATE, _HEADER.pack(each.family, 0, 0), attributes)
        except OSError:
            failed += 1
    return failed


def _prepared(kind: int, value: bytes) -> Attribute:
    """What of it the kernel takes for a new one.

    Windows of TCP do not go along: the kernel learns them from the packets, and must be told to let
    these pass (IP_CT_TCP_FLAG_BE_LIBERAL).
    """
    if kind == _STATUS:
        return kind, struct.pack(">I", int.from_bytes(value, "big") & ~_EXPECTED)
    if kind != _PROTOCOL_STATE:
        return kind, value
    inner = []
    for protocol, told in unpack(value):
        fields = dict(unpack(told))
        if protocol == _TCP:
            for way in _TCP_FLAGS:
                fields[way] = bytes([(fields.get(way) or b"\0")[0] | _LIBERAL, 0xFF])
        inner.append((protocol | NESTED, pack(fields.items())))
    return kind | NESTED, pack(inner)
