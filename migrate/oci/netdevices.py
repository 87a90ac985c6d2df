"""`linux.netDevices`: interfaces of the host that become the container's (specification 1.3)."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from migrate.kernel import netlink
from migrate.oci.errors import BadConfig, SetupFailed

_NAME = re.compile(r"[^/\s:]{1,15}")  # Linux, net/core/dev.c, dev_valid_name


def check(devices: Any, kinds: set[str]) -> None:
    """Raise BadConfig unless these can be moved into a namespace of the container's."""
    if not devices:
        return
    if not isinstance(devices, dict) or "network" not in kinds:
        raise BadConfig(
            "config.json is not valid", cause="linux.netDevices need a network namespace"
        )
    inside = [str((entry or {}).get("name") or name) for name, entry in devices.items()]
    for name in (*devices, *inside):
        if not _NAME.fullmatch(name) or name in {".", ".."}:
            raise BadConfig("config.json is not valid", cause=f"no interface is named {name!r}")
    if len(set(inside)) < len(inside):
        raise BadConfig("config.json is not valid", cause="two linux.netDevices get one name")


def move(devices: dict[str, Any], pid: int) -> None:
    """Move each into the network namespace of a process, and set it up; raises SetupFailed."""
    for name, entry in devices.items():
        inside = str((entry or {}).get("name") or name)
        try:
            netlink.move_interface(name, Path(f"/proc/{pid}/ns/net"), inside)
        except OSError as error:
            cause = {
                errno.ENODEV: "this host has no such interface",
                errno.EEXIST: f"the container has an interface {inside} already",
            }.get(error.errno or 0, str(error))
            raise SetupFailed(f"the interface {name} can't be moved", cause=cause) from error
