"""The usual specification of a container (OCI runtime-spec 1.2), for what a command asks for."""

from __future__ import annotations

from migrate.runtime.errors import SpecInvalid

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from migrate.runtime.records import Bind
    from migrate.runtime.users import User

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


class Options:
    """What `run` and `create` were asked for."""

    def __init__(
        self, arguments: Sequence[str], environment: Sequence[str] = (), *, directory: str = "/",
        user_id: int = 0, group_id: int = 0, host_name: str = "", host_network: bool = False,
        add_capabilities: Sequence[str] = (), drop_capabilities: Sequence[str] = (),
        read_only: bool = False, binds: Sequence[Bind] = (), terminal: bool = False,
    ) -> None:  # fmt: skip
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.user_id = user_id
        self.group_id = group_id
        self.host_name = host_name
        self.host_network = host_network
        self.add_capabilities = add_capabilities
        self.drop_capabilities = drop_capabilities
        self.read_only = read_only
        self.binds = binds
        self.terminal = terminal


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


def build(options: Options) -> dict[str, Any]:
    """A specification with the usual defaults for `options`."""
    names = capabilities(options.add_capabilities, options.drop_capabilities)
    namespaces = [n for n in _NAMESPACES if not (n == "network" and options.host_network)]
    environment = list(options.environment)
    if not any(entry.startswith("PATH=") for entry in environment):
        environment.insert(0, f"PATH={DEFAULT_PATH}")
    if options.terminal and not any(entry.startswith("TERM=") for entry in environment):
        environment.append("TERM=xterm")
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": list(options.arguments),
            "env": environment,
            "cwd": options.directory or "/",
            "user": {"uid": options.user_id, "gid": options.group_id},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
            "noNewPrivileges": True,
            "terminal": options.terminal,
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


def run_by(spec: dict[str, Any], user: User) -> None:
    """Let `user` run it, whose HOME is set if nothing else sets it."""
    process = spec["process"]
    if not any(entry.startswith("HOME=") for entry in process.setdefault("env", [])):
        process["env"].append(f"HOME={user.home}")
    process["user"] = user.as_spec()
