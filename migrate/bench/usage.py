"""What a test host has used so far: CPU time of all its processes, bytes on its link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchImpossible

LINK = "eth0"


def cpu_seconds(host: Any) -> float:
    """CPU time of the host's processes, those that have ended included; raises BenchImpossible.

    Of the hierarchy cpuacct, or of v2, which counts it in every group. What the kernel does for the
    network in interrupts is in neither.
    """
    cgroups = hosts.load("cgroups")
    groups = {}
    for line in Path(f"/proc/{host.pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups[controllers] = path.removesuffix(f"/{cgroups.SYSTEM}").lstrip("/")
    for hierarchy in cgroups.hierarchies():
        if "cpuacct" in hierarchy.options.split(",") and hierarchy.options in groups:
            group = cgroups.path_in(hierarchy, groups[hierarchy.options])
            return int((group / "cpuacct.usage").read_text()) / 1e9
    for hierarchy in cgroups.hierarchies():
        if hierarchy.version == 2 and "" in groups:
            lines = (cgroups.path_in(hierarchy, groups[""]) / "cpu.stat").read_text().splitlines()
            return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6
    raise BenchImpossible(
        "this machine counts no CPU time of a group", cause="neither cpuacct nor cgroup v2",
        mend="mount one of them",
    )  # fmt: skip


def sent_bytes(host: Any) -> int:
    """Bytes that have left the host by its link, as its interface counts them."""
    for line in Path(f"/proc/{host.pid}/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == LINK:
            return int(counters.split()[8])
    raise BenchImpossible(f"{host.name} has no link", cause=f"no {LINK} in its /proc/net/dev")
