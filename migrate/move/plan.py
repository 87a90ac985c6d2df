"""The plan of a move: a value that can be printed before anything is touched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from migrate.checkpoint.obstacles import obstacles_to_dump
from migrate.checkpoint.state import State, external_mounts
from migrate.errors import MigrateError
from migrate.kernel.mountinfo import read_mountinfo
from migrate.move.errors import ContainerUnfit, SameHost, TargetUnfit
from migrate.move.facts import Facts, compare, enough_room
from migrate.move.modes import LATE, LAZY, RISK, lacking_for_late, lacking_for_pre_copy
from migrate.move.sharing import Apart
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec

ROOM = 64 << 20  # bytes kept free at the target beside what is sent


@dataclass(frozen=True)
class Plan:
    """What `move` will do; sizes in bytes."""

    name: str
    container: str
    target: str
    target_name: str
    mode: str
    reason: str
    memory_bytes: int
    missing_layers: tuple[str, ...]
    obstacles: tuple[MigrateError, ...]
    other_modes: tuple[tuple[str, str], ...] = ()
    """Each mode that is not taken, with what stands against it."""
    tracker: str = ""
    """How written pages are found out, where the mode needs to know."""

    @property
    def risk(self) -> str:
        """What can be lost in this mode, "" when nothing."""
        return RISK if self.mode in LATE else ""

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        wire = [error.to_wire() for error in self.obstacles]
        return asdict(self) | {"obstacles": wire, "risk": self.risk}


def obstacles_of(
    mode: str, process: Process | None, state: State, here: Facts, there: Facts, memory: int,
    apart: Apart,
) -> list[MigrateError]:  # fmt: skip
    """What this side knows to stand against the move."""
    if here.host_id == there.host_id:
        return [SameHost("the target is this very host")]
    if mode == "cold" or process is None:
        return enough_room(there, memory=memory, disk=ROOM)
    if mode in LAZY:
        found = compare(here, there, memory=memory + apart.more + ROOM, disk=ROOM)
        found += _lazy_obstacles(mode, here, there, apart)
    else:
        found = compare(here, there, memory=memory + ROOM, disk=memory + ROOM)
    found += obstacles_to_dump(state.record, process)
    if state.record.network.driver == "host" and _has_connections(process):
        found.append(
            ContainerUnfit(
                "the container has TCP connections on the host's own address",
                cause="with --network host its connections can't go to another address",
                mend="close them first, use --network bridge, or --mode cold",
            )
        )
    return found


def _lazy_obstacles(mode: str, here: Facts, there: Facts, apart: Apart) -> list[MigrateError]:
    """What stands against memory that is filled in after the thaw."""
    found: list[MigrateError] = []
    if why := apart.beyond_limit():
        mend = "use --mode stop-copy, which keeps it shared"
        found.append(ContainerUnfit(f"{mode} would need too much memory", cause=why, mend=mend))
    lacking = (lacking_for_late if mode in LATE else lacking_for_pre_copy)(here, there)
    if lacking:
        found.append(TargetUnfit(f"{mode} is not possible", cause=lacking, mend="use --mode auto"))
    return found


def describe_for_plan(
    paths: Paths, record: Record, spec: Spec, process: Process | None
) -> tuple[State, list[MigrateError]]:
    """The state as far as it is known now, and what can't be dumped."""
    empty = State(record, spec, {}, ())
    if process is None:
        return empty, []
    try:
        mounts = external_mounts(record, spec, process.pid, read_mountinfo(process.pid))
    except MigrateError as error:
        return empty, [error]
    own = paths.container(record.identifier)
    known = driver_of(record.network.driver).neighbours(own)
    return msgspec.structs.replace(
        empty, mounts=mounts, log_pipes=process.log_pipes, neighbours=known
    ), []


def _has_connections(process: Process) -> bool:
    """Whether any process of init's network namespace view owns an established TCP socket."""
    established = set()
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
        established |= {f.split()[9] for f in lines if f.split()[3] == "01"}
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            name = str(descriptor.readlink())
        except OSError:
            continue
        if name.startswith("socket:[") and name[8:-1] in established:
            return True
    return False
