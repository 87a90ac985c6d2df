"""update: other limits for a container that is there."""

from __future__ import annotations

import json
import sys
from typing import Any

from migrate.oci import groups, records
from migrate.oci.errors import BadUsage, Unsupported
from migrate.runtime.cgroups import resources

# Option -> where it goes in linux.resources.
_PLACES = {
    "blkio_weight": ("blockIO", "weight"), "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"), "cpu_burst": ("cpu", "burst"),
    "cpu_rt_period": ("cpu", "realtimePeriod"), "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_share": ("cpu", "shares"), "cpu_idle": ("cpu", "idle"), "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"), "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"), "memory_swap": ("memory", "swap"),
    "kernel_memory_tcp": ("memory", "kernelTCP"), "pids_limit": ("pids", "limit"),
}  # fmt: skip
_SIZES = {"memory", "memory_reservation", "memory_swap", "kernel_memory_tcp"}
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def update(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Set them; raises CgroupFailed, and leaves what was set before that."""
    for name in ("l3_cache_schema", "mem_bw_schema"):
        if values[name]:
            raise Unsupported(f"--{name.replace('_', '-')}: Intel RDT is not supported")
    wanted = _from_file(values["resources"]) if values["resources"] else _from_options(values)
    with records.locked(records.load(settings["root"], words[0])) as container:
        container.require("update", records.CREATED, records.RUNNING, records.PAUSED)
        group = groups.of_state(container.state)
        if container.state["cgroup"].get("systemd"):
            from migrate.oci import systemd

            systemd.update(group.name, wanted, group.layout)
        groups.limit(group, resources.settings(wanted, group.layout))
        groups.update_devices(group, resources.device_rules(wanted))
        spec = container.config
        linux = spec.setdefault("linux", {})
        before = linux.get("resources") or {}
        linux["resources"] = before | {
            key: (before.get(key) or {}) | value if isinstance(value, dict) else value
            for key, value in wanted.items()
        }
        records.write(f"{container.directory}/config.json", spec)


def _from_file(path: str) -> dict[str, Any]:
    try:
        if path == "-":
            data = sys.stdin.read(records.LIMIT)
        else:
            with open(path) as file:
                data = file.read(records.LIMIT)
        found = json.loads(data)
    except (OSError, ValueError) as error:
        raise BadUsage(f"can't read the resources in {path}", cause=str(error)) from error
    if not isinstance(found, dict):
        raise BadUsage(f"{path} holds no linux.resources", cause="it is no JSON object")
    return found


def _from_options(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, (part, name) in _PLACES.items():
        value = values[option]
        if value in (None, ""):
            continue
        found.setdefault(part, {})[name] = _size(value) if option in _SIZES else value
    return found


def _size(text: str) -> int:
    """Bytes of "64m" or "1000000"; -1 is no limit."""
    word = text.lower().removesuffix("ib").removesuffix("b")
    factor = _UNITS.get(word[-1:], 1)
    try:
        return int(word.rstrip("kmgt")) * factor
    except ValueError:
        raise BadUsage(f"invalid size {text!r}", cause="as 64m or 1000000") from None
