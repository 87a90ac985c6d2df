"""What a container's control group uses of the machine: cpu, memory, processes, block devices.

Sources: Documentation/admin-guide/cgroup-v1 (cpuacct.rst, memory.rst, blkio-controller.rst,
pids.rst) and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from migrate.runtime.cgroups.counters import directory_of, number, table
from migrate.runtime.cgroups.group import ControlGroup

NO_LIMIT = 1 << 60
"""Bytes; what version 1 says where there is no limit is larger still, by the page size."""


@dataclass(frozen=True)
class Usage:
    """At one moment; bytes, seconds of a core, counts. A limit of 0 is none.

    `memory` leaves out files' pages that nobody has used lately: the kernel takes them back first.
    None: no controller of this host tells.
    """

    cpu_seconds: float | None
    memory: int | None
    memory_limit: int
    pids: int | None
    pids_limit: int
    block_read: int | None
    block_written: int | None


def usage_of(group: ControlGroup) -> Usage:
    """What the group uses now; a group that is gone uses nothing that can be told."""
    read, written = _block(group)
    return Usage(
        cpu_seconds=_cpu(group),
        memory=memory_in_use(group),
        memory_limit=_limit(group, "memory", "memory.limit_in_bytes", "memory.max"),
        pids=number(directory_of(group, "pids"), "pids.current"),
        pids_limit=_limit(group, "pids", "pids.max", "pids.max"),
        block_read=read,
        block_written=written,
    )


def memory_in_use(group: ControlGroup) -> int | None:
    """Bytes that the kernel can't take back without swap; None where nobody tells."""
    directory = directory_of(group, "memory")
    first = "memory" in group.layout.v1
    used = number(directory, "memory.usage_in_bytes" if first else "memory.current")
    if used is None:
        return None
    idle = table(directory, "memory.stat").get(
        "total_inactive_file" if first else "inactive_file", 0
    )
    return max(0, used - idle)


def oom_kills(group: ControlGroup) -> int:
    """How many of its processes the kernel has killed for want of memory; 0 where nobody tells."""
    directory = directory_of(group, "memory")
    name = "memory.oom_control" if "memory" in group.layout.v1 else "memory.events"
    return table(directory, name).get("oom_kill", 0)


def _cpu(group: ControlGroup) -> float | None:
    if "cpuacct" in group.layout.v1:
        used = number(directory_of(group, "cpuacct"), "cpuacct.usage")
        return None if used is None else used / 1e9
    if group.layout.v2 is None:
        return None
    # cpu.stat is in every group of version 2, with the cpu controller or without.
    found = table(group.layout.v2 / group.parent / group.name, "cpu.stat")
    return found["usage_usec"] / 1e6 if "usage_usec" in found else None


def _limit(group: ControlGroup, controller: str, first: str, second: str) -> int:
    name = first if controller in group.layout.v1 else second
    found = number(directory_of(group, controller), name) or 0  # "max" is no number
    return found if found < NO_LIMIT else 0


def _block(group: ControlGroup) -> tuple[int | None, int | None]:
    """Bytes read and written, of all devices together."""
    if "blkio" in group.layout.v1:
        directory = directory_of(group, "blkio")
        return _block_v1(directory) if directory else (None, None)
    directory = directory_of(group, "io")
    if directory is None:
        return None, None
    read = written = 0
    with contextlib.suppress(OSError, ValueError):
        for line in (directory / "io.stat").read_text().splitlines():
            pairs = dict(field.split("=", 1) for field in line.split()[1:] if "=" in field)
            read += int(pairs.get("rbytes", 0))
            written += int(pairs.get("wbytes", 0))
        return read, written
    return None, None


def _block_v1(directory: Path) -> tuple[int | None, int | None]:
    sums = {"Read": 0, "Write": 0}
    with contextlib.suppress(OSError, ValueError):
        text = (directory / "blkio.throttle.io_service_bytes").read_text()
        for line in text.splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[1] in sums:
                sums[fields[1]] += int(fields[2])
        return sums["Read"], sums["Write"]
    return None, None
