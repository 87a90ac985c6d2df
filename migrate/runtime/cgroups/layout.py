"""Which cgroup hierarchies this host has, and where they are mounted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.mounts import MountInfo, read_mountinfo

V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")


@dataclass(frozen=True)
class Layout:
    """Mount points: `v1` by controller, and the v2 tree with the controllers it offers."""

    v1: dict[str, Path]
    v2: Path | None
    v2_controllers: frozenset[str]

    @property
    def freezer_version(self) -> int:
        """1 where the v1 freezer is mounted, else 2; 0 if there is neither."""
        if "freezer" in self.v1:
            return 1
        return 2 if self.v2 else 0

    @property
    def roots(self) -> list[Path]:
        """The mount point of each hierarchy, each once."""
        found = list(dict.fromkeys(self.v1.values()))
        return [*found, self.v2] if self.v2 else found

    def homes(self) -> list[Path]:
        """The group that this process is in, for each of `roots` (cgroups(7), /proc/PID/cgroup)."""
        found = {}
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                root = self.v1.get(controller) if controllers else self.v2
                if root:
                    found[root] = root / path.lstrip("/")
        return [found[root] for root in self.roots if root in found]


def layout_of(mounts: Iterable[MountInfo]) -> tuple[dict[str, Path], Path | None]:
    """The hierarchies among `mounts`; of several mounts of one, the last is what is seen."""
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for mount in mounts:
        if mount.fs_type == "cgroup2":
            v2 = Path(mount.mount_point)
        elif mount.fs_type == "cgroup":
            for option in mount.super_options.split(","):
                if option in V1_CONTROLLERS:
                    v1[option] = Path(mount.mount_point)
    return v1, v2


def detect() -> Layout:
    """The layout of this host (its mount namespace)."""
    v1, v2 = layout_of(read_mountinfo())
    offered: frozenset[str] = frozenset()
    if v2 is not None:
        offered = frozenset((v2 / "cgroup.controllers").read_text().split())
    return Layout(v1, v2, offered)
