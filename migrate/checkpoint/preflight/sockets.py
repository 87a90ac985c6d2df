"""Sockets of kinds that CRIU can't dump, or whose other end is outside the container.

The kernel's tables in /proc/PID/net tell most sockets' protocols. What stands in none of them is a
TCP socket that was never bound, or something unusual: it is asked itself, through a copy of its
descriptor (pidfd_getfd(2)).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container, Descriptor, Task
from migrate.kernel import processes
from migrate.kernel.unixpeers import unix_peers

# /proc/PID/net/*, and which column has the inode number (Linux, Documentation/networking/).
_TABLES = {
    "tcp": 9, "tcp6": 9, "udp": 9, "udp6": 9, "udplite": 9, "udplite6": 9, "raw": 9, "raw6": 9,
    "icmp": 9, "icmp6": 9, "unix": 6, "netlink": 9, "packet": 8,
}  # fmt: skip
_MPTCP, _SCTP, _UDP_LITE = 262, 132, 136  # include/uapi/linux/in.h
_OPTIONS = (39, socket.SO_TYPE, 38)  # SO_DOMAIN, SO_TYPE, SO_PROTOCOL: asm-generic/socket.h
_INTERNET = {socket.AF_INET, socket.AF_INET6}
_FAMILIES = {*_INTERNET, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET}
_PROTOCOLS = {0, 1, 58, socket.IPPROTO_TCP, socket.IPPROTO_UDP, _UDP_LITE}  # ICMP, ICMPv6


def sockets(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each kind in each process."""
    usual = _in_tables(container.init.directory / "net")
    own = {d.socket for task in container.tasks for d in task.descriptors if d.socket}
    peers = _peers(container, own)
    outside = {inode for inode, peer in peers.items() if peer not in own}
    for task in container.own_tasks:
        told = set()
        for descriptor in task.descriptors:
            if descriptor.socket is None:
                continue
            name, words = "", ""
            if descriptor.socket not in usual:
                name, words = _unusual(task, descriptor)
            elif descriptor.socket in outside:
                name, words = "unix-external", "is connected to a unix socket of the host's"
            if name and name not in told:
                told.add(name)
                yield task.known(name, words)


def _in_tables(directory: Path) -> set[int]:
    found = set()
    for name, column in _TABLES.items():
        with contextlib.suppress(OSError):
            for line in (directory / name).read_text(errors="replace").splitlines()[1:]:
                fields = line.split()
                if len(fields) > column and fields[column].isdigit():
                    found.add(int(fields[column]))
    return found


def _unusual(task: Task, descriptor: Descriptor) -> tuple[str, str]:
    """The failure of CRIU's that it would be, and what the process has; "" for none."""
    with contextlib.suppress(OSError):
        process = processes.pidfd_open(task.pid)
        try:
            number = processes.pidfd_getfd(process, descriptor.number)
        finally:
            os.close(process)
        # Family and type are given, for Python asks the socket's name otherwise: some have none.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=number) as copy:
            return _kind(*(copy.getsockopt(socket.SOL_SOCKET, option) for option in _OPTIONS))
    return "", ""


def _kind(family: int, kind: int, protocol: int) -> tuple[str, str]:
    if family not in _FAMILIES:
        return "socket-family", f"has a socket of the family {family}"
    if family not in _INTERNET or kind == socket.SOCK_RAW:
        return "", ""
    named = {_MPTCP: ("mptcp", "has a Multipath TCP socket"), _SCTP: ("sctp", "has an SCTP socket")}
    if protocol in named:
        return named[protocol]
    if protocol not in _PROTOCOLS:
        return "ip-protocol", f"has an internet socket of the protocol {protocol}"
    return "", ""


def _peers(container: Container, own: set[int]) -> dict[int, int]:
    """The other ends of the container's unix sockets; empty where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return unix_peers(container.init.directory / "ns/net", own)
    return {}
