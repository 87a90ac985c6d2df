"""The cgroup subtrees of the hosts, in every hierarchy of the machine, v1 and v2."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.mountinfo import read_mountinfo

SYSTEM = "system"
"""On v2 a host's own processes live in this child: a cgroup with processes can't hand out
controllers to its children, and the container runtime wants to make some at the host's root."""


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy: where, its version, and what mount(2) takes to mount it again."""

    mount_point: Path
    version: int
    options: str = ""


def hierarchies() -> list[Hierarchy]:
    """The machine's cgroup hierarchies, the first mount of each."""
    found: dict[str, Hierarchy] = {}
    for info in read_mountinfo():
        point = Path(info.mount_point)
        if info.fs_type == "cgroup2":
            found.setdefault("2", Hierarchy(point, 2))
        elif info.fs_type == "cgroup":
            kept = [o for o in info.super_options.split(",") if _is_controller(o)]
            options = ",".join(kept)
            if options.startswith("name="):
                options = f"none,{options}"
            found.setdefault(options, Hierarchy(point, 1, options))
    return list(found.values())


def _is_controller(option: str) -> bool:
    flags = {"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"}
    return option not in flags and not option.startswith("release_agent=")


def path_in(hierarchy: Hierarchy, name: str) -> Path:
    """The directory of a host's subtree; `name` is like "migrate-hosts-12-345/alpha"."""
    return hierarchy.mount_point / name


def _inherit(directory: Path) -> None:
    """What the kernel leaves empty in a new group: v1 cpusets, v2 controllers."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        mine = directory / name
        if mine.exists() and not mine.read_text().strip():
            mine.write_text((directory.parent / name).read_text())


def hand_out_controllers(directory: Path) -> list[str]:
    """v2: enable every controller for the children; returns those that were not enabled before."""
    control = directory / "cgroup.subtree_control"
    enabled = set(control.read_text().split())
    new = [c for c in (directory / "cgroup.controllers").read_text().split() if c not in enabled]
    done = []
    for controller in new:
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}")
            done.append(controller)
    return done


def take_back_controllers(directory: Path, controllers: list[str]) -> None:
    for controller in controllers:
        with contextlib.suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(f"-{controller}")


def create(name: str) -> None:
    """Make the subtree of a host in every hierarchy."""
    for hierarchy in hierarchies():
        directory = hierarchy.mount_point
        parts = name.split("/")
        for part in parts:
            directory /= part
            directory.mkdir(exist_ok=True)
            if hierarchy.version == 1:
                _inherit(directory)
            elif part != parts[-1]:
                hand_out_controllers(directory)
        if hierarchy.version == 2:
            (directory / SYSTEM).mkdir(exist_ok=True)


def settle(name: str) -> None:
    """v2: move into the `system` child, then let the host's own group hand out controllers."""
    join(name)
    for hierarchy in hierarchies():
        if hierarchy.version == 2:
            hand_out_controllers(path_in(hierarchy, name))


def join(name: str, *, inner: bool = True) -> None:
    """Move this process into the subtree, on v2 into its `system` child if `inner`."""
    for path in member_files(name, inner=inner):
        descriptor = os.open(path, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)


def member_files(name: str, *, inner: bool = True) -> list[str]:
    return [
        str(path_in(h, name) / (SYSTEM if inner and h.version == 2 else "") / "cgroup.procs")
        for h in hierarchies()
    ]


def limit_memory(name: str, size: int | None) -> None:
    """Let a host have so many bytes and no more, None for all; raises LookupError."""
    directory, version = _memory_group(name)
    limit = ("memory.limit_in_bytes", "-1") if version == 1 else ("memory.max", "max")
    (directory / limit[0]).write_text(limit[1] if size is None else str(size))


def memory_used(name: str) -> int:
    """Bytes; raises LookupError."""
    directory, version = _memory_group(name)
    usage = "memory.usage_in_bytes" if version == 1 else "memory.current"
    return int((directory / usage).read_text())


def out_of_memory_kills(name: str) -> int:
    """Processes of a host that the kernel has killed for memory; raises LookupError."""
    directory, version = _memory_group(name)
    killed = 0
    for group in _groups(directory):
        events = group / ("memory.oom_control" if version == 1 else "memory.events.local")
        with contextlib.suppress(OSError):  # a container that ends takes its group along
            for line in events.read_text().splitlines():
                if line.startswith("oom_kill "):
                    killed += int(line.split()[1])
    return killed


def _memory_group(name: str) -> tuple[Path, int]:
    for hierarchy in hierarchies():
        directory = path_in(hierarchy, name)
        for mark in ("memory.limit_in_bytes", "memory.max"):
            if (directory / mark).exists():
                return directory, hierarchy.version
    raise LookupError("this machine has no memory controller")


def _groups(top: Path) -> list[Path]:
    """`top` and everything beneath it, children before parents."""
    found = []
    for directory, _, _ in os.walk(top, topdown=False):
        found.append(Path(directory))
    return found


def _thaw(directory: Path) -> None:
    for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        with contextlib.suppress(OSError):
            if (directory / name).exists():
                (directory / name).write_text(value)


def _kill(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (directory / "cgroup.procs").read_text().split():
            if pid != "0":  # 0 is a process that this pid namespace does not see
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def thaw_all(name: str) -> None:
    """Let frozen tasks go, so that they can die with their init: on v1 a frozen task can't."""
    for hierarchy in hierarchies():
        for directory in _groups(path_in(hierarchy, name)):
            _thaw(directory)


def kill_all(name: str) -> None:
    """Thaw and kill what lives in the subtree."""
    for hierarchy in hierarchies():
        for directory in _groups(path_in(hierarchy, name)):
            _thaw(directory)
            _kill(directory)


def remove(name: str, limit: float = 30.0) -> None:
    """Kill what is left in the subtree and remove it; raises TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        left = []
        for hierarchy in hierarchies():
            for directory in _groups(path_in(hierarchy, name)):
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:
                    left.append(directory)
        if not left:
            return
        kill_all(name)
        if time.monotonic() > deadline:
            raise TimeoutError(f"cgroups can't be removed: {', '.join(map(str, left[:5]))}")
        time.sleep(0.005)
