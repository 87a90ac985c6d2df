"""The OCI runtime specification of a container: made from options, or read from a bundle.

Source: OCI runtime-spec 1.2, config.md and config-linux.md. The specification is kept as the JSON
object that it is; `validate` bounds what this runtime takes from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.records import Bind

Spec = dict[str, Any]
SPEC_LIMIT = 4 << 20
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The set that Docker and containerd give (moby, oci/caps/defaults.go).
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip
MASKED_PATHS = (
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
READ_ONLY_PATHS = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)  # fmt: skip
_NAMESPACES = ("pid", "mount", "uts", "ipc", "cgroup", "network")


@dataclass(frozen=True)
class Options:
    """What `run` and `create` were asked for."""

    arguments: Sequence[str]
    environment: Sequence[str] = ()
    directory: str = "/"
    user_id: int = 0
    group_id: int = 0
    host_name: str = ""
    host_network: bool = False
    add_capabilities: Sequence[str] = ()
    drop_capabilities: Sequence[str] = ()
    read_only: bool = False
    binds: Sequence[Bind] = ()


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def default_mounts() -> list[dict[str, Any]]:
    """The mounts of config-linux.md, "Default Filesystems", without a cgroup mount."""
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
               "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    ]  # fmt: skip


def capabilities(add: Sequence[str], drop: Sequence[str]) -> list[str]:
    """The default set with names added and dropped ("ALL" drops all); raises SpecInvalid."""
    from migrate.kernel.capabilities import NAMES

    def full(name: str) -> str:
        name = name.upper()
        name = name if name.startswith("CAP_") or name == "ALL" else f"CAP_{name}"
        if name != "ALL" and name not in NAMES:
            raise SpecInvalid(f"there is no capability '{name}'", mend="see capabilities(7)")
        return name

    added, dropped = {full(n) for n in add}, {full(n) for n in drop}
    base = set(NAMES) if "ALL" in added else set(DEFAULT_CAPABILITIES)
    kept = set() if "ALL" in dropped else base - dropped
    return [name for name in NAMES if name in kept | (added - {"ALL"})]


def build(options: Options) -> Spec:
    """A specification with the usual defaults for `options`."""
    names = capabilities(options.add_capabilities, options.drop_capabilities)
    namespaces = [n for n in _NAMESPACES if not (n == "network" and options.host_network)]
    environment = list(options.environment)
    if not any(entry.startswith("PATH=") for entry in environment):
        environment.insert(0, f"PATH={DEFAULT_PATH}")
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": list(options.arguments),
            "env": environment,
            "cwd": options.directory or "/",
            "user": {"uid": options.user_id, "gid": options.group_id},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
            "noNewPrivileges": True,
            "terminal": False,
        },
        "root": {"path": "rootfs", "readonly": options.read_only},
        "hostname": options.host_name,
        "mounts": default_mounts() + [bind_mount(bind) for bind in options.binds],
        "linux": {
            "namespaces": [{"type": name} for name in namespaces],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READ_ONLY_PATHS),
        },
    }


def bind_mount(bind: Bind) -> dict[str, Any]:
    """The mount entry of a bind; a volume's source is filled in when it is mounted."""
    return _mount(bind.target, "bind", bind.source, "rbind", "ro" if bind.read_only else "rw")


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
    require("user" not in kinds, "user namespaces are not supported yet")
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
