"""What a limit on all that this host runs leaves of memory: a host can be a container itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

from migrate.runtime.cgroups.layout import Layout

_NO_LIMIT = 1 << 60
"""Bytes; what version 1 says where there is no limit is larger still, by the page size."""


def memory_left(layout: Layout) -> int | None:
    """Bytes until the limit on the tree's root as this host sees it; None where there is none.

    A machine's true root has no limit; the root of a cgroup namespace can have one. Memory that
    holds files which nobody has used lately counts as free, as the kernel gives it up first
    (cgroup-v1/memory.rst 5.2, cgroup-v2.rst "Memory Interface Files").
    """
    found = []
    if root := layout.v1.get("memory"):
        found.append(_left(root, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"))
    if layout.v2:
        found.append(_left(layout.v2, "memory.max", "memory.current", ""))
    return min((left for left in found if left is not None), default=None)


def _left(root: Path, limit_name: str, usage_name: str, prefix: str) -> int | None:
    # ValueError: "max", which is version 2's word for no limit
    with contextlib.suppress(OSError, ValueError):
        limit = int((root / limit_name).read_text())
        if limit < _NO_LIMIT:
            used = int((root / usage_name).read_text())
            return max(0, limit - used + _idle_files(root, f"{prefix}inactive_file"))
    return None


def _idle_files(root: Path, key: str) -> int:
    for line in (root / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0
