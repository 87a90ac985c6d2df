"""Hosts and containers for the tests of the planner."""

from __future__ import annotations

import msgspec

from migrate.evacuate.model import Guest, HostState
from migrate.evacuate.planning.room import BESIDE, MARGIN_SHARE, RESERVE

MIB = 1 << 20
GIB = 1 << 30


def guest(name: str, **fields: object) -> Guest:
    return Guest(**({"identifier": f"id-{name}", "name": name, "memory": 100 * MIB} | fields))  # type: ignore[arg-type]


def host(name: str, *guests: Guest, **fields: object) -> HostState:
    return HostState(**({
        "name": name, "address": f"root@{name}", "host_id": f"host-{name}", "machine": "x86_64",
        "criu": "4.2.1", "cpu_flags": ("sse2", "avx2"), "memory_free": 8 * GIB,
        "disk_free": 100 * GIB, "guests": guests,
    } | fields))  # type: ignore[arg-type]  # fmt: skip


def fitting(name: str, *sizes: int, **fields: object) -> HostState:
    """A host with room for running containers of just these sizes in bytes, all of them at once."""
    needed = sum(size + BESIDE for size in sizes) + RESERVE
    free = needed
    while free - min(free // MARGIN_SHARE, 256 * MIB) < needed:
        free += 1 + (needed - (free - min(free // MARGIN_SHARE, 256 * MIB)))
    return msgspec.structs.replace(host(name, **fields), memory_free=free)
