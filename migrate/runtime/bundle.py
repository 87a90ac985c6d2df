"""What of an OCI bundle becomes part of the container's record: bind mounts and limits.

Source: OCI runtime-spec 1.2, config.md (Mounts) and config-linux.md (Control groups).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.records import Bind, Resources
from migrate.runtime.spec import Spec

# What `migrate-oci` carries out and a container of `migrate run` does not.
_OF_PROCESS = ("apparmorProfile", "selinuxLabel", "scheduler", "ioPriority", "execCPUAffinity")
_OF_LINUX = (
    "seccomp", "devices", "mountLabel", "intelRdt", "personality", "timeOffsets", "netDevices",
    "memoryPolicy", "uidMappings", "gidMappings",
)  # fmt: skip
_AT_TOP = ("hooks", "domainname")


def refuse_what_would_be_ignored(spec: Spec) -> None:
    """Raise SpecInvalid, by name, for what the bundle wants and nobody here would carry out."""
    process, linux = spec.get("process", {}), spec.get("linux", {})
    found = [name for name in _AT_TOP if spec.get(name)]
    found += [f"process.{name}" for name in _OF_PROCESS if process.get(name)]
    found += [f"linux.{name}" for name in _OF_LINUX if linux.get(name)]
    if process.get("apparmorProfile") == "unconfined":
        found.remove("process.apparmorProfile")
    if found:
        raise SpecInvalid(
            "'migrate run' can't carry out all that the bundle wants",
            cause=f"its config.json has {', '.join(found)}",
            mend="take it out, or use 'migrate-oci run' ('migrate-oci checkpoint' saves it)",
        )


def separate_binds(spec: Spec, bundle: Path) -> tuple[Bind, ...]:
    """The bind mounts as records; a relative source is below the bundle."""
    found = []
    for entry in spec.get("mounts", []):
        options = entry.get("options") or []
        if entry.get("type") == "bind" or {"bind", "rbind"} & set(options):
            source = os.path.normpath(bundle.resolve() / str(entry.get("source", "")))
            found.append(Bind(source, entry["destination"], read_only="ro" in options))
    return tuple(found)


def resources_of(spec: Spec, wanted: Resources) -> Resources:
    """The limits of linux.resources; what the command line says goes before."""
    given = spec.get("linux", {}).get("resources") or {}
    try:
        memory = _positive((given.get("memory") or {}).get("limit"))
        pids = _positive((given.get("pids") or {}).get("limit"))
        cpu = given.get("cpu") or {}
        quota, period = _positive(cpu.get("quota")), _positive(cpu.get("period")) or 100_000
    except (TypeError, ValueError, AttributeError) as error:
        raise SpecInvalid("the bundle's linux.resources are not valid", cause=str(error)) from error
    return Resources(
        memory=wanted.memory or memory, cpus=wanted.cpus or quota / period,
        pids=wanted.pids or pids,
    )  # fmt: skip


def _positive(value: Any) -> int:
    """A limit; missing, zero and negative ones mean that there is none."""
    return max(int(value or 0), 0)
