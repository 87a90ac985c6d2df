"""`linux.resources` of an OCI specification as files of control groups, version 1 and 2.

Sources: config-linux.md ("Control groups"), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst;
the conversions from v1's to v2's scales are those of crun's crun.1 ("CGROUP v2").
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.errors import CgroupFailed, SpecInvalid


class Setting(NamedTuple):
    """One value for one file of one controller."""

    controller: str
    file: str
    value: str
    given: str  # the property it comes from, for errors


# Property below linux.resources -> (controller, file): values that are written as they are.
_V1 = {
    "memory.reservation": ("memory", "memory.soft_limit_in_bytes"),
    "memory.kernelTCP": ("memory", "memory.kmem.tcp.limit_in_bytes"),
    "memory.swappiness": ("memory", "memory.swappiness"),
    "cpu.shares": ("cpu", "cpu.shares"),
    "cpu.period": ("cpu", "cpu.cfs_period_us"),
    "cpu.quota": ("cpu", "cpu.cfs_quota_us"),
    "cpu.burst": ("cpu", "cpu.cfs_burst_us"),
    "cpu.idle": ("cpu", "cpu.idle"),
    "cpu.realtimePeriod": ("cpu", "cpu.rt_period_us"),
    "cpu.realtimeRuntime": ("cpu", "cpu.rt_runtime_us"),
    "cpu.cpus": ("cpuset", "cpuset.cpus"),
    "cpu.mems": ("cpuset", "cpuset.mems"),
    "blockIO.weight": ("blkio", "blkio.weight"),
    "blockIO.leafWeight": ("blkio", "blkio.leaf_weight"),
}
_V2 = {
    "memory.reservation": ("memory", "memory.low"),
    "cpu.burst": ("cpu", "cpu.max.burst"),
    "cpu.idle": ("cpu", "cpu.idle"),
    "cpu.cpus": ("cpuset", "cpuset.cpus"),
    "cpu.mems": ("cpuset", "cpuset.mems"),
}
_THROTTLES = {
    "throttleReadBpsDevice": ("read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("write_iops_device", "wiops"),
}
_RESERVED = ".rsvd.max"
_NOT_HERE = ("rdma", "network")


def settings(resources: dict[str, Any], layout: Layout) -> list[Setting]:
    """What has to be written; raises SpecInvalid for what no controller of this host can do."""
    first = {"memory", "cpu", "cpuset", "blkio", "pids", "devices"} & set(layout.v1)
    found: list[Setting] = []
    for name in _NOT_HERE:
        if resources.get(name):
            raise SpecInvalid(f"linux.resources.{name} is not supported")
    try:
        found += _memory(resources.get("memory") or {}, "memory" in first)
        found += _plain(resources, "cpu", first)
        found += _cpu_v2(resources.get("cpu") or {}) if "cpu" not in first else []
        found += _pids(resources.get("pids") or {})
        found += _block(resources.get("blockIO") or {}, first)
        found += _huge_pages(resources.get("hugepageLimits") or [])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SpecInvalid("linux.resources is not valid", cause=repr(error)) from error
    for file, value in (resources.get("unified") or {}).items():
        if "/" in file or file.startswith("cgroup."):
            raise SpecInvalid(f"linux.resources.unified can't set {file}")
        found.append(Setting("unified", file, str(value), f"unified.{file}"))
    return found


def _plain(resources: dict[str, Any], part: str, first: set[str]) -> Iterator[Setting]:
    for name, value in (resources.get(part) or {}).items():
        given = f"{part}.{name}"
        table = _V1
        if _V1.get(given, ("", ""))[0] not in first:
            table = _V2
        if value not in (None, "", 0) or (name in {"idle", "swappiness"} and value is not None):
            if given in table:
                yield Setting(*table[given], str(value), given)
            elif given.startswith("cpu.realtime"):
                raise SpecInvalid(f"linux.resources.{given} needs cgroup v1 with realtime groups")


def _memory(memory: dict[str, Any], version_1: bool) -> Iterator[Setting]:
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        file = "memory.limit_in_bytes" if version_1 else "memory.max"
        yield Setting("memory", file, _bytes(limit, version_1), "memory.limit")
    if swap and version_1:
        yield Setting("memory", "memory.memsw.limit_in_bytes", str(swap), "memory.swap")
    elif swap:
        beyond = swap - (limit or 0) if swap > 0 else -1
        if beyond < -1:
            raise SpecInvalid("linux.resources.memory.swap is below the limit")
        yield Setting("memory", "memory.swap.max", _bytes(beyond, False), "memory.swap")
    yield from _plain({"memory": memory}, "memory", {"memory"} if version_1 else set())
    if memory.get("disableOOMKiller"):
        if not version_1:
            raise SpecInvalid("memory.disableOOMKiller needs cgroup v1")
        yield Setting("memory", "memory.oom_control", "1", "memory.disableOOMKiller")


def _bytes(value: int, version_1: bool) -> str:
    return str(value) if value >= 0 or version_1 else "max"


def weight_of_shares(shares: int) -> int:
    """Version 1's 2 to 262144 on version 2's scale of 1 to 10000."""
    return 1 + (max(shares, 2) - 2) * 9999 // 262142


def weight_of_block(weight: int) -> int:
    """Version 1's 10 to 1000 on version 2's scale of 1 to 10000."""
    return 1 + (weight - 10) * 9999 // 990


def _cpu_v2(cpu: dict[str, Any]) -> Iterator[Setting]:
    if shares := cpu.get("shares"):
        yield Setting("cpu", "cpu.weight", str(weight_of_shares(shares)), "cpu.shares")
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        amount = str(quota) if quota and quota > 0 else "max"
        yield Setting("cpu", "cpu.max", f"{amount} {period or 100000}", "cpu.quota")


def _pids(pids: dict[str, Any]) -> Iterator[Setting]:
    limit = pids.get("limit")
    if limit:
        yield Setting("pids", "pids.max", str(limit) if limit > 0 else "max", "pids.limit")


def _block(block: dict[str, Any], first: set[str]) -> Iterator[Setting]:
    version_1 = "blkio" in first
    if version_1:
        yield from _plain({"blockIO": block}, "blockIO", first)
    elif weight := block.get("weight"):
        value = f"default {weight_of_block(weight)}"
        yield Setting("io", "io.weight", value, "blockIO.weight")
    for entry in block.get("weightDevice") or []:
        where = f"{entry['major']}:{entry['minor']}"
        controller, file = ("blkio", "blkio.weight_device") if version_1 else ("io", "io.weight")
        yield Setting(controller, file, f"{where} {entry['weight']}", "blockIO.weightDevice")
    for name, (old, new) in _THROTTLES.items():
        for entry in block.get(name) or []:
            where, rate = f"{entry['major']}:{entry['minor']}", entry["rate"]
            if version_1:
                yield Setting("blkio", f"blkio.throttle.{old}", f"{where} {rate}", name)
            else:
                yield Setting("io", "io.max", f"{where} {new}={rate}", name)


def _huge_pages(limits: list[dict[str, Any]]) -> Iterator[Setting]:
    for entry in limits:
        size = str(entry["pageSize"])
        if not size.isalnum():
            raise SpecInvalid(f"hugepageLimits has no page size {size!r}")
        for file in (f"hugetlb.{size}.max", f"hugetlb.{size}{_RESERVED}"):
            yield Setting("hugetlb", file, str(entry["limit"]), "hugepageLimits")


def apply(wanted: list[Setting], directories: dict[str, Path], unified: Path | None) -> None:
    """Write all; `directories` is the group by v1 controller, `unified` the one of v2.

    What fails is tried again when the rest is written: limits that bound each other have no one
    order. Raises CgroupFailed.
    """
    failed: list[tuple[Setting, OSError]] = []
    for setting in wanted:
        if error := _write(setting, directories, unified):
            failed.append((setting, error))
    for setting, _error in failed:
        if error := _write(setting, directories, unified):
            raise CgroupFailed(
                f"can't set linux.resources.{setting.given} ({setting.file} = {setting.value})",
                cause=str(error),
            ) from error


def _write(
    setting: Setting, directories: dict[str, Path], unified: Path | None
) -> OSError | None:  # fmt: skip
    directory = directories.get(setting.controller, unified)
    if directory is None:
        return FileNotFoundError(2, f"this host has no {setting.controller} controller")
    try:
        # Not created where it is missing: a control group has the files that it has.
        with open(directory / setting.file, "r+") as file:  # noqa: PTH123
            file.write(setting.value)
    except OSError as error:
        if error.errno == errno.ENOENT and setting.file.endswith(_RESERVED):
            return None  # this kernel counts the use alone, which is limited, too
        return error
    return None


def device_rules(resources: dict[str, Any]) -> list[tuple[bool, str]]:
    """`linux.resources.devices` in the words of the v1 controller: (allow, "c 1:3 rwm")."""
    found = []
    for entry in resources.get("devices") or []:
        kind, access = str(entry.get("type") or "a"), str(entry.get("access") or "rwm")
        major, minor = (_device_number(entry.get(key)) for key in ("major", "minor"))
        if kind not in {"a", "b", "c"} or not set(access) <= set("rwm"):
            raise SpecInvalid("linux.resources.devices is not valid", cause=str(entry)[:200])
        access = "".join(letter for letter in "rwm" if letter in access)
        whole = kind == "a" and (major, minor) == ("*", "*")
        if kind == "a" and not whole:  # devices.rst: `a` is all of them, whatever follows
            found += [(bool(entry.get("allow")), f"{k} {major}:{minor} {access}") for k in "bc"]
        else:
            found.append((bool(entry.get("allow")), f"{kind} {major}:{minor} {access}"))
    return found


def _device_number(value: Any) -> str:
    return "*" if value is None or int(value) < 0 else str(int(value))
