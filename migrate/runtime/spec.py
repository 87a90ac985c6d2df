"""The OCI runtime specification of a container: made from options, or read from a bundle.

Source: OCI runtime-spec 1.2, config.md and config-linux.md. The specification is kept as the JSON
object that it is; `validate` bounds what this runtime takes from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.usual import (
    DEFAULT_CAPABILITIES,
    DEFAULT_PATH,
    Options,
    bind_mount,
    build,
    capabilities,
    default_mounts,
)

__all__ = [
    "DEFAULT_CAPABILITIES", "DEFAULT_PATH", "SPEC_LIMIT", "Options", "Spec", "bind_mount", "build",
    "capabilities", "default_mounts", "load", "namespace_kinds", "validate",
]  # fmt: skip

Spec = dict[str, Any]
SPEC_LIMIT = 4 << 20


def load(path: Path) -> Spec:
    """The specification in a config.json; raises SpecInvalid."""
    try:
        with path.open("rb") as file:
            data = file.read(SPEC_LIMIT + 1)
        if len(data) > SPEC_LIMIT:
            raise SpecInvalid(f"{path} is too large", cause=f"more than {SPEC_LIMIT} bytes")
        spec = json.loads(data)
    except (OSError, ValueError) as error:
        raise SpecInvalid(f"can't read {path}", cause=str(error)) from error
    return validate(spec)


def validate(spec: Any) -> Spec:
    """The specification, if it has the shape that init relies on; raises SpecInvalid."""

    def require(condition: bool, cause: str) -> None:
        if not condition:
            raise SpecInvalid("the container's specification is not valid", cause=cause)

    require(isinstance(spec, dict), "it is no JSON object")
    process = spec.get("process")
    require(isinstance(process, dict), "it has no process (config.md, Process)")
    arguments = process.get("args")
    require(
        isinstance(arguments, list) and bool(arguments) and all(type(a) is str for a in arguments),
        "process.args is no list of strings",
    )
    require(str(process.get("cwd", "")).startswith("/"), "process.cwd is not an absolute path")
    for entry in spec.get("mounts", []):
        target = entry.get("destination") if isinstance(entry, dict) else None
        require(
            isinstance(target, str) and target.startswith("/"),
            "a mount has no absolute destination",
        )
    kinds = {n.get("type") for n in spec.get("linux", {}).get("namespaces", [])}
    for needed in ("pid", "mount"):
        require(needed in kinds, f"it has no {needed} namespace of its own, which this needs")
    maps = [spec.get("linux", {}).get(key) for key in ("uidMappings", "gidMappings")]
    told = all(isinstance(m, list) and m for m in maps)
    require("user" not in kinds or told, "it has a user namespace without uidMappings, gidMappings")
    for entry in spec.get("linux", {}).get("namespaces", []):
        require(not entry.get("path"), "joining a namespace by its path is not supported yet")
    for needed, prefix in (("network", "net."), ("ipc", "kernel."), ("ipc", "fs.mqueue.")):
        for name in spec.get("linux", {}).get("sysctl") or {}:
            inside = needed in kinds or not str(name).startswith(prefix)
            require(inside, f"the sysctl {name} would change the host's {needed} namespace")
    return dict(spec)


def namespace_kinds(spec: Spec) -> set[str]:
    """The types of the namespaces that the container has for itself."""
    return {n["type"] for n in spec.get("linux", {}).get("namespaces", [])}
