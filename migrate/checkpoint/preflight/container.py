"""A running container's processes, as /proc shows them to the host."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.state import DEVICE_PLACES
from migrate.criu.catalogue import CATALOGUE
from migrate.kernel.processes import status_fields
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_O_PATH = 0o10000000
_KNOWN = {known.name: known for known in CATALOGUE}


def printable(text: str) -> str:
    """What a container's programs have chosen, fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(frozen=True)
class Descriptor:
    """An open file; `mode` and `device` as stat(2) has st_mode and st_rdev."""

    number: int
    target: str  # of the link in /proc/PID/fd
    mode: int
    device: int
    fields: dict[str, str]  # of /proc/PID/fdinfo
    locks: tuple[str, ...] = ()  # there, too: a line for each lock and lease

    @property
    def flags(self) -> int:
        """Of open(2)."""
        return int(self.fields.get("flags", "0"), 8)

    @property
    def socket(self) -> int | None:
        """The inode number of a socket, None of other files."""
        inside = self.target.removeprefix("socket:[")
        return int(inside[:-1]) if inside != self.target else None


@dataclass(frozen=True)
class Task:
    """One process. What it has is read when it is asked for; a process that ended has nothing."""

    pid: int
    fields: dict[str, str]  # of /proc/PID/status

    @property
    def title(self) -> str:
        """For people; a program chooses its name, and may choose control characters."""
        return f"{printable(self.fields['Name'])} (pid {self.pid})"

    @cached_property
    def directory(self) -> Path:
        """/proc/PID."""
        return Path(f"/proc/{self.pid}")

    def namespace(self, kind: str) -> int | None:
        """The inode number of its namespace; None if it is gone, or the kernel has no such."""
        with contextlib.suppress(OSError):
            return (self.directory / "ns" / kind).stat().st_ino
        return None

    @cached_property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """Its open files, without those that only name a place (O_PATH)."""
        return tuple(self._descriptors())

    def _descriptors(self) -> Iterator[Descriptor]:
        with contextlib.suppress(OSError):
            for link in (self.directory / "fd").iterdir():
                with contextlib.suppress(OSError):
                    seen = link.stat()
                    text = (self.directory / "fdinfo" / link.name).read_text()
                    pairs = [line.partition(":") for line in text.splitlines()]
                    found = Descriptor(
                        int(link.name), str(link.readlink()), seen.st_mode, seen.st_rdev,
                        {key: value.strip() for key, _, value in pairs},
                        tuple(value for key, _, value in pairs if key == "lock"),
                    )  # fmt: skip
                    if not found.flags & _O_PATH:
                        yield found

    def mappings(self) -> Iterator[str]:
        """The names of what it has mapped, each once, from /proc/PID/maps."""
        seen = set()
        with contextlib.suppress(OSError):
            for line in (self.directory / "maps").read_text(errors="replace").splitlines():
                parts = line.split(None, 5)
                if len(parts) == 6 and parts[5] not in seen:
                    seen.add(parts[5])
                    yield parts[5]

    def known(self, name: str, what: str) -> NotDumpable:
        """`what` this process has or does, with cause and mend as CRIU's failure of that name."""
        known = _KNOWN[name]
        return NotDumpable(f"{self.title} {what}", cause=known.cause, mend=known.mend)


@dataclass(frozen=True)
class Container:
    """A running one: its record, its first process, and all that are in its control group."""

    record: Record
    spec: Spec
    init: Task
    tasks: tuple[Task, ...]

    @classmethod
    def seen(cls, record: Record, spec: Spec, process: Process) -> Container:
        """Look now; processes that end meanwhile are left out. Raises NotDumpable without init."""
        tasks = {}
        for pid in sorted({*ControlGroup.of(record.identifier).pids(), process.pid}):
            with contextlib.suppress(OSError):
                tasks[pid] = Task(pid, status_fields(pid))
        if process.pid not in tasks:
            raise NotDumpable(
                f"'{record.name}' has ended", mend="see 'migrate ps -a' and 'migrate logs'"
            )
        return cls(record, spec, tasks[process.pid], tuple(tasks.values()))

    @cached_property
    def pids(self) -> frozenset[int]:
        """Of all tasks."""
        return frozenset(task.pid for task in self.tasks)

    @cached_property
    def by_pid(self) -> dict[int, Task]:
        """All tasks, by this host's pid."""
        return {task.pid: task for task in self.tasks}

    @cached_property
    def own_tasks(self) -> tuple[Task, ...]:
        """Without what `exec` has put in, which may be on its way into the namespaces still.

        Nor what that has started: it has what `exec` was given.
        """
        apart = {task.pid for task in self.tasks if self.is_from_outside(task)}
        children: dict[int, list[int]] = {}
        for task in self.tasks:
            children.setdefault(int(task.fields["PPid"]), []).append(task.pid)
        ahead = list(apart)
        while ahead:
            begun = [pid for pid in children.get(ahead.pop(), []) if pid not in apart]
            apart.update(begun)
            ahead += begun
        return tuple(task for task in self.tasks if task.pid not in apart)

    def is_from_outside(self, task: Task) -> bool:
        """Whether its parent is outside the container."""
        return task.pid != self.init.pid and int(task.fields["PPid"]) not in self.pids

    @cached_property
    def given_mounts(self) -> frozenset[str]:
        """Where the host's directories and files are mounted in it: root, volumes, masked paths…"""
        masked = self.spec.get("linux", {}).get("maskedPaths", [])
        devices = DEVICE_PLACES if self.record.user_namespace else ()
        binds = (bind.target for bind in self.record.binds)
        return frozenset({"/", *masked, *devices, *binds})


def is_character_device(descriptor: Descriptor) -> bool:
    """Whether it is one."""
    return stat.S_ISCHR(descriptor.mode)


def is_block_device(descriptor: Descriptor) -> bool:
    """Whether it is one."""
    return stat.S_ISBLK(descriptor.mode)
