"""Ports of the loopback for servers that have to be told one."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST = 10_000
_chance = random.SystemRandom()  # a test's seed must not choose the same ones everywhere


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has at the moment.

    The kernel gives none of them to who asks for any (ip-sysctl.rst, ip_local_port_range): until
    a server listens, and while it is stopped, no connection of another test takes its place.
    """
    found: list[int] = []
    end = int(_RANGE.read_text().split()[0])
    while len(found) < count:
        port = _chance.randrange(min(_LEAST, end // 2), end)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found = [*found, port] if port not in found else found
    return found


@contextlib.contextmanager
def refusing_ports(count: int) -> Iterator[list[int]]:
    """Ports of 127.0.0.1 on which nobody listens, and nobody can meanwhile."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            ports.append(held.getsockname()[1])
        yield ports


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A TCP port of 127.0.0.1: who sets SO_REUSEADDR may listen there, and else nobody does."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
