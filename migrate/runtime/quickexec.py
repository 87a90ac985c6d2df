"""The shortest way to a running container for `migrate exec`: its files read as plain JSON.

What `records.find`, `status.require` and `load_spec` do for a container that is named whole and
runs; for every other one the general way says why it can't be.
"""

from __future__ import annotations

import os

from migrate.kernel.bare import contextlib, json
from migrate.kernel.processes import boot_id, is_running
from migrate.runtime.cgroups import tree
from migrate.runtime.entering import Inside

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 4 << 20
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def find(state: str, run: str, name: str) -> Inside | None:
    """The running container of that name or id beneath the directories `state` and `run`.

    None where there is none, or where something about it is unusual.
    """
    if not name or not _PLAIN.issuperset(name) or name.startswith("."):
        return None
    try:
        record = _record(f"{state}/containers", name)
        if record is None or record.get("held") or record.get("moved_to"):
            return None
        own = f"{state}/containers/{record['identifier']}"
        process = _read(f"{run}/containers/{record['identifier']}/process.json")
        if os.path.lexists(f"{own}/before-restore") or not _runs(process):
            return None
        if _is_frozen(record["identifier"]):
            return None
        spec = _read(f"{own}/config.json")
        return Inside(record["name"], record["identifier"], int(process["pid"]), spec)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _record(directory: str, name: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError):
        return _read(f"{directory}/{name}/record.json")
    for identifier in os.listdir(directory):
        with contextlib.suppress(OSError):
            found = _read(f"{directory}/{identifier}/record.json")
            if found["name"] == name:
                return found
    return None


def _runs(process: dict[str, Any]) -> bool:
    """Whether it was started, and is that very process still."""
    mine = process["boot"] == boot_id() and process.get("started")
    return bool(mine) and is_running(int(process["pid"]), int(process["start_time"]))


def _is_frozen(identifier: str) -> bool:
    """Whether its freezer is frozen, or about to be."""
    trees = tree.detect()
    name = "freezer.state" if "freezer" in trees.v1 else "cgroup.freeze"
    with open(f"{trees.freezer}/{tree.PARENT}/{identifier}/{name}") as file:
        return file.read().strip() not in {"THAWED", "0"}


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        found: dict[str, Any] = json.loads(file.read(_LIMIT))
    return found
