"""What a test host has used so far: CPU time of all its processes, bytes on its link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchImpossible

LINK = "eth0"


def cpu_seconds(host: Any) -> float:
    """CPU time of the host's processes, those that have ended included; raises BenchImpossible.

    By control groups v2, which count it in every group, whatever controllers there are; what the
    kernel does for the network in interrupts is not in it. (v1's cpuacct did not count a process
    that had been put into a host's group: seen on Linux 6.18.)
    """
    cgroups = hosts.load("cgroups")
    lines = Path(f"/proc/{host.pid}/cgroup").read_text().splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    for hierarchy in cgroups.hierarchies():
        if hierarchy.version == 2 and own is not None:
            group = cgroups.path_in(hierarchy, own.removesuffix(f"/{cgroups.SYSTEM}"))
            counted = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
            return int(counted["usage_usec"]) / 1e6
    raise BenchImpossible(
        "this machine counts no CPU time of a host", cause="control groups v2 are not mounted",
        mend="mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
    )  # fmt: skip


def sent_bytes(host: Any) -> int:
    """Bytes that have left the host by its link, as its interface counts them."""
    for line in Path(f"/proc/{host.pid}/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == LINK:
            return int(counters.split()[8])
    raise BenchImpossible(f"{host.name} has no link", cause=f"no {LINK} in its /proc/net/dev")
