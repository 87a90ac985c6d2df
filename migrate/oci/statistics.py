"""What a container uses of the machine, in the words of runc's `events` (its types/events.go).

Sources: Documentation/admin-guide/cgroup-v1 (memory.rst, cpuacct.rst, blkio-controller.rst,
hugetlb.rst) and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from migrate.kernel.scheduling import numbers_of
from migrate.runtime.cgroups.counters import directory_of, number, table
from migrate.runtime.cgroups.group import ControlGroup

NO_LIMIT = (1 << 64) - 1
_V1_BLOCK = {
    "ioServiceBytesRecursive": "blkio.throttle.io_service_bytes_recursive",
    "ioServicedRecursive": "blkio.throttle.io_serviced_recursive",
}
# Key of io.stat -> the list it goes to, and what the operation is called.
_V2_BLOCK = {
    "rbytes": ("ioServiceBytesRecursive", "Read"), "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"), "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"), "dios": ("ioServicedRecursive", "Discard"),
}  # fmt: skip


def statistics(group: ControlGroup) -> dict[str, Any]:
    """Bytes, nanoseconds and counts; 0 where no controller tells."""
    pids = directory_of(group, "pids")
    return {
        "cpuset": _cpuset(group),
        "cpu": {"usage": _cpu(group), "throttling": _throttling(group)},
        "memory": _memory_v1(group) if "memory" in group.layout.v1 else _memory_v2(group),
        "pids": {"current": _number(pids, "pids.current"), "limit": _number(pids, "pids.max")},
        "blkio": _block(group),
        "hugetlb": _huge_pages(group),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _own(group: ControlGroup) -> Path | None:
    """Its directory of version 2, whose cpu.stat needs no controller."""
    return group.layout.v2 / group.parent / group.name if group.layout.v2 else None


def _throttling(group: ControlGroup) -> dict[str, int]:
    first = "cpu" in group.layout.v1
    told = table(directory_of(group, "cpu") if first else _own(group), "cpu.stat")
    throttled = told.get("throttled_time", 0) if first else told.get("throttled_usec", 0) * 1000
    return {
        "periods": told.get("nr_periods", 0), "throttledPeriods": told.get("nr_throttled", 0),
        "throttledTime": throttled,
    }  # fmt: skip


def _cpu(group: ControlGroup) -> dict[str, Any]:
    if "cpuacct" not in group.layout.v1:
        told = table(_own(group), "cpu.stat")
        return {
            "total": told.get("usage_usec", 0) * 1000,
            "kernel": told.get("system_usec", 0) * 1000,
            "user": told.get("user_usec", 0) * 1000,
        }
    directory = directory_of(group, "cpuacct")
    each: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        assert directory is not None
        each = [int(n) for n in (directory / "cpuacct.usage_percpu").read_text().split()]
    return {
        "total": _number(directory, "cpuacct.usage"), "percpu": each,
        "kernel": _number(directory, "cpuacct.usage_sys"),
        "user": _number(directory, "cpuacct.usage_user"),
    }  # fmt: skip


def _cpuset(group: ControlGroup) -> dict[str, list[int]]:
    """Cores and memory nodes that it may use."""
    directory = directory_of(group, "cpuset")
    suffix = "" if "cpuset" in group.layout.v1 else ".effective"
    lists = ("".join(_lines(directory, f"cpuset.{name}{suffix}")) for name in ("cpus", "mems"))
    cpus, mems = (sorted(numbers_of(text)) if text else [] for text in lists)
    return {"cpus": cpus, "mems": mems}


def _memory_v1(group: ControlGroup) -> dict[str, Any]:
    directory = directory_of(group, "memory")

    def entry(prefix: str) -> dict[str, int]:
        return {
            "limit": _number(directory, f"memory.{prefix}limit_in_bytes"),
            "usage": _number(directory, f"memory.{prefix}usage_in_bytes"),
            "max": _number(directory, f"memory.{prefix}max_usage_in_bytes"),
            "failcnt": _number(directory, f"memory.{prefix}failcnt"),
        }

    raw = table(directory, "memory.stat")
    return {
        "cache": raw.get("cache", 0), "usage": entry(""), "swap": entry("memsw."),
        "kernel": entry("kmem."), "kernelTCP": entry("kmem.tcp."), "raw": raw,
    }  # fmt: skip


def _memory_v2(group: ControlGroup) -> dict[str, Any]:
    """Swap is told together with memory, as version 1 and runc tell it."""
    directory = directory_of(group, "memory")
    raw = table(directory, "memory.stat")
    usage = {
        "limit": _limit(directory, "memory.max"), "usage": _number(directory, "memory.current"),
        "max": _number(directory, "memory.peak"),
        "failcnt": table(directory, "memory.events").get("max", 0),
    }  # fmt: skip
    beyond = _limit(directory, "memory.swap.max")
    swap = {
        "limit": min(NO_LIMIT, usage["limit"] + beyond),
        "usage": usage["usage"] + _number(directory, "memory.swap.current"),
        "max": usage["max"], "failcnt": table(directory, "memory.swap.events").get("max", 0),
    }  # fmt: skip
    none = {"limit": 0, "usage": 0, "max": 0, "failcnt": 0}
    return {
        "cache": raw.get("file", 0), "usage": usage, "swap": swap,
        "kernel": none | {"usage": raw.get("kernel", 0)},
        "kernelTCP": none | {"usage": raw.get("sock", 0)}, "raw": raw,
    }  # fmt: skip


def _block(group: ControlGroup) -> dict[str, Any]:
    if "blkio" in group.layout.v1:
        directory = directory_of(group, "blkio")
        return {name: _block_v1(directory, file) for name, file in _V1_BLOCK.items()}
    found: dict[str, Any] = {name: [] for name in _V1_BLOCK}
    for line in _lines(directory_of(group, "io"), "io.stat"):
        device, *fields = line.split()
        for field in fields:
            key, _, value = field.partition("=")
            if key in _V2_BLOCK and ":" in device:
                name, operation = _V2_BLOCK[key]
                found[name].append(_block_entry(device, operation, value))
    return found


def _block_v1(directory: Path | None, file: str) -> list[dict[str, Any]]:
    rows = [line.split() for line in _lines(directory, file)]
    return [_block_entry(*row) for row in rows if len(row) == 3]


def _block_entry(device: str, operation: str, value: str) -> dict[str, Any]:
    major, minor = map(int, device.split(":"))
    return {"major": major, "minor": minor, "op": operation, "value": int(value)}


def _huge_pages(group: ControlGroup) -> dict[str, Any]:
    directory = directory_of(group, "hugetlb")
    if directory is None:
        return {}
    sizes = {path.name.split(".")[1] for path in directory.glob("hugetlb.*.max")}
    return {
        size: {
            "usage": _number(directory, f"hugetlb.{size}.current"), "max": 0,
            "failcnt": table(directory, f"hugetlb.{size}.events").get("max", 0),
        }
        for size in sorted(sizes)
    }  # fmt: skip


def _lines(directory: Path | None, name: str) -> list[str]:
    with contextlib.suppress(OSError):
        if directory:
            return (directory / name).read_text().splitlines()
    return []


def _number(directory: Path | None, name: str) -> int:
    """A number in a file; 0 where there is none, or no limit."""
    return number(directory, name) or 0


def _limit(directory: Path | None, name: str) -> int:
    """A number in a file, the largest one for "max"."""
    if _lines(directory, name) == ["max"]:
        return NO_LIMIT
    return _number(directory, name)
