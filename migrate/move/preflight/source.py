"""All that is checked for one move, gathered at its source."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.checkpoint import preflight
from migrate.checkpoint.preflight import Verdict
from migrate.checkpoint.preflight.container import Container
from migrate.checkpoint.state import State
from migrate.criu import cpu
from migrate.errors import MigrateError
from migrate.move.errors import ContainerUnfit, TargetUnfit
from migrate.move.facts import Facts
from migrate.move.modes import LATE, LAZY, lacking_for_late, lacking_for_pre_copy
from migrate.move.preflight import hosts
from migrate.move.sharing import Apart
from migrate.runtime.records import Process

ROOM = 64 << 20  # bytes kept free at the target beside what is sent


SKIPPABLE = (
    *(check.name for check in preflight.CHECKS), "connections", "cpu", "clock", "memory", "disk",
)  # fmt: skip
"""What `--skip-check` takes. What fails then, fails in a dump or a restore, and is rolled back."""


@dataclass(frozen=True)
class Case:
    """One move that is thought of: the mode, both hosts, and the container's memory in bytes."""

    mode: str
    here: Facts
    there: Facts
    memory: int
    apart: Apart
    process: Process | None = None  # None when it does not run

    @property
    def keeps_memory(self) -> bool:
        """Whether processes go along."""
        return self.mode != "cold" and self.process is not None

    def cpu(self) -> bytes:
        """This host's CPU for the target to compare, where that matters; b"" where not."""
        if not (self.keeps_memory and self.here.criu and self.there.criu):
            return b""
        return cpu.describe()


def verdicts_of(case: Case, state: State, skip: Collection[str]) -> list[Verdict]:
    """This side's, of both hosts and the container."""
    same = hosts.same_host(case.here, case.there)
    if not same.passed:
        return [same]
    if not case.keeps_memory:
        return [same, *hosts.room(case.there, memory=case.memory, disk=ROOM, skip=skip)]
    assert case.process
    lazy = case.mode in LAZY
    needed = case.memory + ROOM
    return [
        same,
        *hosts.with_memory(case.here, case.there, skip),
        *hosts.room(
            case.there, memory=needed + (case.apart.more if lazy else 0),
            disk=ROOM if lazy else needed, skip=skip,
        ),
        Verdict("mode", "what the mode needs", tuple(_lacking(case)), skippable=False),
        *preflight.look(state.record, state.spec, case.process, skip),
        Verdict("connections", "connections on the host's own address",
                tuple(_connections(state, case.process)), skipped="connections" in skip),
    ]  # fmt: skip


def _lacking(case: Case) -> Iterator[MigrateError]:
    """What stands against memory that is filled in after the thaw."""
    if case.mode not in LAZY:
        return
    if why := case.apart.beyond_limit():
        mend = "use --mode stop-copy, which keeps it shared"
        yield ContainerUnfit(f"{case.mode} would need too much memory", cause=why, mend=mend)
    lacks = lacking_for_late if case.mode in LATE else lacking_for_pre_copy
    if lacking := lacks(case.here, case.there):
        yield TargetUnfit(f"{case.mode} is not possible", cause=lacking, mend="use --mode auto")


def _connections(state: State, process: Process) -> Iterator[MigrateError]:
    """Every process of it that owns an established TCP socket of the host's namespace."""
    if state.record.network.driver != "host":
        return
    established = _established(process)
    for task in Container.seen(state.record, state.spec, process).own_tasks:
        if any(descriptor.socket in established for descriptor in task.descriptors):
            yield ContainerUnfit(
                f"{task.title} has a TCP connection on the host's own address",
                cause="with --network host its connections can't go to another address",
                mend="close it first, use --network bridge, or --mode cold",
            )


def _established(process: Process) -> frozenset[int]:
    """The inode numbers of the established TCP sockets in its network namespace."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            lines = Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
            found |= {int(f.split()[9]) for f in lines if f.split()[3] == "01"}
    return frozenset(found)
