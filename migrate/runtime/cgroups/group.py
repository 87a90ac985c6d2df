"""One container's control group: made, limited, frozen, emptied and removed in every hierarchy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate.runtime.cgroups import tree, v1, v2
from migrate.runtime.cgroups.layout import Layout, detect
from migrate.runtime.errors import CgroupFailed

if TYPE_CHECKING:
    from migrate.runtime.records import Resources

PARENT = tree.PARENT
FREEZE_LIMIT = 10.0  # seconds


@dataclass(frozen=True)
class ControlGroup:
    """The group `<parent>/<name>` in each hierarchy of `layout`."""

    name: str
    layout: Layout
    parent: str = PARENT

    @classmethod
    def of(cls, name: str) -> ControlGroup:
        """The group of a container on this host, whether it exists or not."""
        return cls(name, detect())

    @property
    def directories(self) -> list[Path]:
        """Its directory in each hierarchy, each once."""
        return [root / self.parent / self.name for root in self.layout.roots]

    @property
    def freezer(self) -> Path:
        """The directory of its freezer, which CRIU is given as `freeze_cgroup`."""
        root = self.layout.v1.get("freezer", self.layout.v2)
        if root is None:
            raise CgroupFailed(
                "this host has no freezer", cause="neither the v1 freezer nor cgroup v2 is mounted"
            )
        return root / self.parent / self.name

    def create(self) -> None:
        """Make it in every hierarchy; raises CgroupFailed."""
        tree.make(self.layout.trees, self.parent, self.name)

    def add(self, pid: int) -> None:
        """Move a process into it in every hierarchy; raises OSError."""
        for directory in self.directories:
            (directory / "cgroup.procs").write_text(str(pid))

    def limit(self, resources: Resources) -> None:
        """Set the limits; raises CgroupFailed for one that no hierarchy offers."""
        for controller, wanted in (
            ("memory", resources.memory), ("cpu", resources.cpus), ("pids", resources.pids),
        ):  # fmt: skip
            if not wanted:
                continue
            kind, directory = self._controlled(controller)
            try:
                kind.limit(directory, controller, wanted)
            except OSError as error:
                raise CgroupFailed(f"can't limit {controller}", cause=str(error)) from error

    def change_limits(self, before: Resources, after: Resources) -> None:
        """Set the limits that differ, a missing one lifted; raises CgroupFailed."""
        for controller, was, wanted in (
            ("memory", before.memory, after.memory), ("cpu", before.cpus, after.cpus),
            ("pids", before.pids, after.pids),
        ):  # fmt: skip
            if was == wanted:
                continue
            kind, directory = self._controlled(controller)
            try:
                if wanted:
                    kind.limit(directory, controller, wanted)
                else:
                    kind.lift(directory, controller)
            except OSError as error:
                raise CgroupFailed(f"can't limit {controller}", cause=str(error)) from error

    def set_cpus(self, cores: float | None) -> None:
        """Change the limit of cpu, None for no limit; raises CgroupFailed."""
        kind, directory = self._controlled("cpu")
        try:
            if cores:
                kind.limit(directory, "cpu", cores)
            else:
                kind.lift(directory, "cpu")
        except OSError as error:
            raise CgroupFailed("can't limit cpu", cause=str(error)) from error

    def _controlled(self, controller: str) -> tuple[Any, Path]:
        """The module and the directory that limit `controller`; raises CgroupFailed."""
        if controller in self.layout.v1:
            return v1, self.layout.v1[controller] / self.parent / self.name
        if self.layout.v2 and controller in self.layout.v2_controllers:
            return v2, self.layout.v2 / self.parent / self.name
        raise CgroupFailed(f"can't limit {controller}", cause=f"no {controller} controller here")

    def cpu_seconds(self) -> float:
        """Seconds of a core that it has used so far; raises CgroupFailed where nobody tells."""
        try:
            if "cpuacct" in self.layout.v1:
                directory = self.layout.v1["cpuacct"] / self.parent / self.name
                return int((directory / "cpuacct.usage").read_text()) / 1e9
            if self.layout.v2:
                text = (self.layout.v2 / self.parent / self.name / "cpu.stat").read_text()
                return int(text.split()[1]) / 1e6  # usage_usec, the first line
        except (OSError, ValueError, IndexError) as error:
            raise CgroupFailed("can't tell the use of cpu", cause=str(error)) from error
        raise CgroupFailed("can't tell the use of cpu", cause="no cpuacct, and no cgroup v2")

    def freeze(self, limit: float = FREEZE_LIMIT) -> None:
        """Freeze and wait until all tasks are frozen; thaws again and raises when they are not."""
        kind = v1 if self.layout.freezer_version == 1 else v2
        directory = self.freezer
        kind.request_freeze(directory)
        deadline = time.monotonic() + limit
        pause = 0.0002
        while not kind.is_frozen(directory):
            if time.monotonic() > deadline:
                kind.thaw(directory)
                raise CgroupFailed(
                    f"the container did not freeze within {limit:g} s",
                    cause="a task sits in an uninterruptible system call",
                    mend="look at its stack in /proc/PID/stack, then try again",
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
            # The v1 freezer asks a forking task only once more on a new write
            # (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst).
            kind.request_freeze(directory)

    def request_freeze(self) -> None:
        """Ask for freezing without waiting."""
        (v1 if self.layout.freezer_version == 1 else v2).request_freeze(self.freezer)

    def thaw(self) -> None:
        """Let the tasks run."""
        (v1 if self.layout.freezer_version == 1 else v2).thaw(self.freezer)

    @contextlib.contextmanager
    def held(self, limit: float = FREEZE_LIMIT) -> Iterator[None]:
        """Frozen within, and then as it was before; raises as `freeze`, and OSError."""
        was_frozen = self.frozen
        try:
            self.freeze(limit)
            yield
        finally:
            if not was_frozen:
                with contextlib.suppress(OSError):  # it has ended, and its group is gone
                    self.thaw()

    @property
    def frozen(self) -> bool:
        """Whether the group is (being) frozen; False when it does not exist."""
        try:
            kind = v1 if self.layout.freezer_version == 1 else v2
            requested: bool = kind.freeze_requested(self.freezer)
        except (OSError, CgroupFailed):
            return False
        return requested

    def pids(self) -> list[int]:
        """The processes in it (and in groups below it), as this pid namespace numbers them."""
        return tree.pids(str(self.freezer))

    def kill(self, limit: float = tree.KILL_LIMIT) -> None:
        """SIGKILL until it is empty, frozen or not; raises CgroupFailed after `limit` seconds."""
        tree.kill(str(self.freezer), limit)

    def remove(self) -> None:
        """Remove the (empty) group everywhere; a missing one is no error."""
        tree.remove(self.layout.trees, self.parent, self.name)

    def memory_bytes(self) -> int:
        """Memory in use, in bytes; 0 where no controller tells."""
        for path, name in ((self.layout.v1.get("memory"), "memory.usage_in_bytes"),
                           (self.layout.v2, "memory.current")):  # fmt: skip
            if path:
                with contextlib.suppress(OSError, ValueError):
                    return int((path / self.parent / self.name / name).read_text())
        return 0
