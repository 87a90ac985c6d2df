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
