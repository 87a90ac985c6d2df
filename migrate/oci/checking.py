"""Whether a config.json is valid, and whether this runtime can do all that it asks for.

What can't be done is refused by name, never passed over (config.md). Properties that the
specification does not know are ignored, as it demands ("Extensibility").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from migrate.kernel.scheduling import MEMORY_FLAGS, MEMORY_MODES, PERSONALITIES, is_list
from migrate.oci import netdevices
from migrate.oci.errors import BadConfig, Unsupported
from migrate.oci.filesystem import PROPAGATIONS
from migrate.oci.hooks import KINDS
from migrate.oci.processcheck import check_process, require
from migrate.oci.sources import is_bind, is_mapped
from migrate.runtime.seccomp import notifies

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
_REFUSED = ("intelRdt",)
# Namespaced sysctls (config-linux.md, "Sysctl"; ipc_namespaces(7)): prefix -> namespace.
_SYSCTLS = (
    ("net.", "network"), ("fs.mqueue.", "ipc"), ("kernel.msg", "ipc"), ("kernel.sem", "ipc"),
    ("kernel.shm", "ipc"), ("kernel.domainname", "uts"),
)  # fmt: skip


def check(spec: Any) -> dict[str, Any]:
    """The specification, if all of it can be carried out; raises BadConfig, Unsupported."""
    try:
        return _checked(spec)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        cause = f"a property is missing, or of another type than it should be: {error}"
        raise BadConfig("config.json is not valid", cause=cause) from error


def _checked(spec: Any) -> dict[str, Any]:
    require(isinstance(spec, dict), "it is no JSON object")
    _check_version(spec.get("ociVersion"))
    require(isinstance(spec.get("root"), dict), "root is missing (config.md, Root)")
    require(isinstance(spec["root"].get("path"), str), "root.path is missing")
    for name in ("vm", "windows", "solaris", "zos"):
        if spec.get(name):
            raise Unsupported(f"config.json: {name} is for another platform")
    check_process(spec.get("process"))
    linux = spec.get("linux") or {}
    require(isinstance(linux, dict), "linux is no object")
    _check_mounts(spec.get("mounts") or [], linux)
    _check_hooks(spec.get("hooks") or {})
    _check_linux(linux)
    kinds = _check_namespaces(linux)
    for name in ("hostname", "domainname"):
        require("uts" in kinds or not spec.get(name), f"{name} needs a uts namespace")
    return dict(spec)


def _check_version(version: Any) -> None:
    require(isinstance(version, str), "ociVersion is missing")
    if not re.fullmatch(r"1\.\d+\.\d+.*", version):
        raise Unsupported(f"ociVersion {version} is not supported", cause="this knows 1.x")


def _refuse(holder: dict[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        if holder.get(name):
            raise Unsupported(f"config.json: {where}.{name} is not supported")


def _check_mounts(entries: list[Any], linux: dict[str, Any]) -> None:
    for entry in entries:
        require(isinstance(entry, dict), "a mount is no object")
        place = entry.get("destination")
        require(isinstance(place, str) and place, "a mount has no destination")
        if is_mapped(entry):
            _check_id_maps(entry, f"mount of {place}", linux)


def _check_id_maps(entry: dict[str, Any], name: str, linux: dict[str, Any]) -> None:
    kinds = [e.get("type") for e in linux.get("namespaces") or []]
    given = [bool(entry.get(key)) for key in ("uidMappings", "gidMappings")]
    require(given[0] == given[1], f"{name}: uidMappings and gidMappings go together")
    require(
        all(given) or "user" in kinds,
        f"{name}: idmap without mappings needs a user namespace of the container",
    )
    if not is_bind(entry):
        raise Unsupported(f"{name}: only bind mounts can be idmapped")


def _check_hooks(hooks: dict[str, Any]) -> None:
    for kind in KINDS:
        for entry in hooks.get(kind) or []:
            path = str(entry.get("path", ""))
            require(path.startswith("/"), f"a {kind} hook's path is not absolute")
            timeout = entry.get("timeout")
            require(timeout is None or timeout > 0, f"the {kind} hook {path}: timeout is not > 0")


def _check_linux(linux: dict[str, Any]) -> None:
    _refuse(linux, _REFUSED, "linux")
    if policy := linux.get("memoryPolicy"):
        require(policy.get("mode") in MEMORY_MODES, "memoryPolicy.mode is not known")
        require(set(policy.get("flags") or []) <= set(MEMORY_FLAGS), "memoryPolicy.flags: unknown")
        nodes = policy.get("nodes")
        require(not nodes or is_list(nodes), "memoryPolicy.nodes is no list of nodes")
    if linux.get("mountLabel"):
        raise Unsupported("config.json: linux.mountLabel: SELinux is not supported")
    wanted = linux.get("rootfsPropagation") or ""
    require(not wanted or wanted in PROPAGATIONS, f"rootfsPropagation {wanted} is not known")
    _check_listener(linux.get("seccomp") or {})
    for entry in linux.get("devices") or []:
        require(str(entry.get("path", "")).startswith("/"), "a device has no absolute path")
        require(entry.get("type") in {"c", "b", "u", "p"}, f"{entry['path']}: bad device type")
    if personality := linux.get("personality"):
        require(personality.get("domain") in PERSONALITIES, "personality.domain is not known")
        _refuse(personality, ("flags",), "linux.personality")


def _check_listener(seccomp: dict[str, Any]) -> None:
    path = str(seccomp.get("listenerPath") or "")
    require(
        path or not seccomp.get("listenerMetadata"), "seccomp.listenerMetadata needs listenerPath"
    )
    for entry in seccomp.get("syscalls") or []:
        require(entry.get("names"), "seccomp.syscalls: an entry has no names")
    if notifies(seccomp):
        require(path.startswith("/"), "SCMP_ACT_NOTIFY needs an absolute seccomp.listenerPath")


def _check_namespaces(linux: dict[str, Any]) -> set[str]:
    entries = linux.get("namespaces") or []
    kinds = [entry.get("type") for entry in entries]
    for kind in kinds:
        require(kind in NAMESPACES, f"there is no namespace of type {kind}")
        require(kinds.count(kind) == 1, f"two namespaces of type {kind}")
    for entry in entries:
        path = entry.get("path")
        require(not path or str(path).startswith("/"), f"{path} is not absolute")
    if "mount" not in kinds:
        raise Unsupported("a container without a mount namespace is not supported")
    own = {entry["type"] for entry in entries if not entry.get("path")}
    mapped = linux.get("uidMappings") or linux.get("gidMappings")
    require("user" in kinds or not mapped, "uidMappings need a user namespace")
    require("user" not in own or mapped, "a new user namespace needs uidMappings, gidMappings")
    require("time" in own or not linux.get("timeOffsets"), "timeOffsets need a time namespace")
    netdevices.check(linux.get("netDevices"), set(kinds))
    for name in linux.get("sysctl") or {}:
        _check_sysctl(str(name), set(kinds))
    return set(kinds)


def _check_sysctl(name: str, kinds: set[str]) -> None:
    """Only what belongs to a namespace of the container may be set: the rest is the host's."""
    dotted = name.replace("/", ".")
    require(".." not in dotted and not dotted.startswith("."), f"bad sysctl {name}")
    for prefix, kind in _SYSCTLS:
        if dotted.startswith(prefix):
            require(kind in kinds, f"sysctl {name} needs a {kind} namespace")
            return
    raise BadConfig("config.json is not valid", cause=f"sysctl {name} is not in a namespace")
