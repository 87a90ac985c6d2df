"""Whether the `process` of a config.json, or of `exec`, can be carried out.

`exec` has few milliseconds: nothing is loaded here that takes long.
"""

from __future__ import annotations

import os

from migrate.kernel.capabilities import NAMES as CAPABILITIES
from migrate.kernel.capabilities import effective_mask, mask_of
from migrate.kernel.scheduling import IO_CLASSES, POLICIES, POLICY_FLAGS, is_list
from migrate.oci.errors import BadConfig, Unsupported

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_IDS = (1 << 32) - 1  # the last one means "no change" (chown(2))


def require(condition: Any, cause: str) -> None:
    """Raise BadConfig with `cause` unless the condition holds."""
    if not condition:
        raise BadConfig("config.json is not valid", cause=cause)


def check_process(process: Any) -> None:
    """Raise BadConfig or Unsupported unless `process` can be carried out."""
    require(isinstance(process, dict), "process is missing (config.md, Process)")
    arguments = process.get("args")
    require(arguments and are_texts(arguments), "process.args is no list of strings")
    require(str(process.get("cwd", "")).startswith("/"), "process.cwd is not an absolute path")
    require(are_texts(process.get("env") or []), "process.env is no list of strings")
    _check_user(process.get("user") or {})
    for names in (process.get("capabilities") or {}).values():
        require(are_texts(names or []), "process.capabilities are no lists of strings")
    _check_limits(process.get("rlimits") or [])
    for name, value in (process.get("execCPUAffinity") or {}).items():
        known = name in {"initial", "final"}
        require(not known or is_list(value), f"execCPUAffinity.{name} is no list of CPUs")
    if (process.get("apparmorProfile") or "unconfined") != "unconfined" and not os.path.isdir(
        "/sys/kernel/security/apparmor"
    ):
        raise Unsupported("process.apparmorProfile: this host has no AppArmor")
    if process.get("selinuxLabel"):
        raise Unsupported("process.selinuxLabel: SELinux is not supported")
    _check_scheduling(process)


def take_out_capabilities(process: dict[str, Any]) -> list[str]:
    """Those that can't be granted, taken out of `process` (config.md: a warning, and no error)."""
    sets = process.get("capabilities") or {}
    wanted = {name for names in sets.values() for name in names or []}
    own = effective_mask()
    refused = {n for n in wanted if n not in CAPABILITIES or not mask_of([n]) & own}
    if refused:
        process["capabilities"] = {
            kind: [name for name in names or [] if name not in refused]
            for kind, names in sets.items()
        }
    return sorted(refused)


def are_texts(value: Any) -> bool:
    """Whether it is a list of strings."""
    return isinstance(value, list) and all(type(entry) is str for entry in value)


def _check_user(user: Any) -> None:
    require(isinstance(user, dict), "process.user is no object")
    numbers = [user.get(name) or 0 for name in ("uid", "gid", "umask")]
    for number in (*numbers, *(user.get("additionalGids") or [])):
        require(
            type(number) is int and 0 <= number < _IDS, f"process.user: {number!r} is no id or mask"
        )


def _check_scheduling(process: dict[str, Any]) -> None:
    scheduler = process.get("scheduler") or {}
    require(not scheduler or scheduler.get("policy") in POLICIES, "scheduler.policy is not known")
    unknown = set(scheduler.get("flags") or []) - set(POLICY_FLAGS)
    require(not unknown, f"scheduler.flags: {', '.join(map(str, unknown))} not known")
    priority = process.get("ioPriority") or {}
    require(not priority or priority.get("class") in IO_CLASSES, "ioPriority.class is not known")


def _check_limits(limits: Iterable[dict[str, Any]]) -> None:
    import resource

    seen = set()
    for entry in limits:
        name = str(entry.get("type"))
        known = name.startswith("RLIMIT_") and hasattr(resource, name)
        require(known, f"rlimit {name} is not known")
        require(name not in seen, f"rlimit {name} is there twice")
        seen.add(name)
        require(entry["soft"] <= entry["hard"], f"rlimit {name}: soft is above hard")
