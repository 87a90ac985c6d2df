"""events: what a container uses of the machine, a JSON object a line, as runc tells it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from migrate.oci import groups, records
from migrate.oci.errors import BadUsage
from migrate.runtime.cgroups.counters import directory_of, number, table
from migrate.runtime.cgroups.group import ControlGroup

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def events(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """One object with --stats, else one an interval until the container has stopped."""
    interval = _seconds(values["interval"])
    container = records.load(settings["root"], words[0])
    container.require("get events of", records.CREATED, records.RUNNING, records.PAUSED)
    group = groups.of_state(container.state)
    while container.alive:
        told = {"type": "stats", "id": container.identifier, "data": statistics(group)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        if values["stats"]:
            return
        time.sleep(interval)


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise BadUsage(f"invalid duration {text!r}", cause="as 5s, 500ms, 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise BadUsage("duration interval must be greater than 0")
    return seconds


def statistics(group: ControlGroup) -> dict[str, Any]:
    """Use of cpu (nanoseconds), memory (bytes) and pids, where a controller tells."""
    cpu, memory, pids = (directory_of(group, name) for name in ("cpuacct", "memory", "pids"))
    first = "memory" in group.layout.v1
    usage = "memory.usage_in_bytes" if first else "memory.current"
    limit = "memory.limit_in_bytes" if first else "memory.max"
    most = "memory.max_usage_in_bytes" if first else "memory.peak"
    throttling = table(directory_of(group, "cpu"), "cpu.stat")
    return {
        "cpu": {
            "usage": _cpu(group, cpu),
            "throttling": {
                "periods": throttling.get("nr_periods", 0),
                "throttledPeriods": throttling.get("nr_throttled", 0),
                "throttledTime": throttling.get("throttled_time", 0),
            },
        },
        "memory": {
            "usage": {
                "usage": _number(memory, usage), "limit": _number(memory, limit),
                "max": _number(memory, most), "failcnt": _number(memory, "memory.failcnt"),
            },
            "raw": table(memory, "memory.stat"),
        },
        "pids": {"current": _number(pids, "pids.current"), "limit": _number(pids, "pids.max")},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }  # fmt: skip


def _cpu(group: ControlGroup, directory: Path | None) -> dict[str, Any]:
    if "cpuacct" not in group.layout.v1:
        # cpu.stat is in every group of version 2, with the cpu controller or without.
        second = group.layout.v2 / group.parent / group.name if group.layout.v2 else None
        told = table(second, "cpu.stat")
        return {
            "total": told.get("usage_usec", 0) * 1000,
            "kernel": told.get("system_usec", 0) * 1000,
            "user": told.get("user_usec", 0) * 1000,
        }
    each: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        assert directory is not None
        each = [int(n) for n in (directory / "cpuacct.usage_percpu").read_text().split()]
    return {
        "total": _number(directory, "cpuacct.usage"), "percpu": each,
        "kernel": _number(directory, "cpuacct.usage_sys"),
        "user": _number(directory, "cpuacct.usage_user"),
    }  # fmt: skip


def _number(directory: Path | None, name: str) -> int:
    """A number in a file; 0 where there is none, or no limit."""
    return number(directory, name) or 0
