"""The plan of a move: a value that can be printed before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec

from migrate.checkpoint import preflight
from migrate.checkpoint.netns.contents import Contents
from migrate.checkpoint.netns.reading import open_reader
from migrate.checkpoint.preflight import Verdict
from migrate.checkpoint.state import State, external_mounts
from migrate.errors import MigrateError
from migrate.kernel.mountinfo import read_mountinfo
from migrate.move.modes import LATE, RISK
from migrate.runtime.networks import driver_of, names
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec


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
    verdicts: tuple[Verdict, ...]
    """Of every check, in their order."""
    other_modes: tuple[tuple[str, str], ...] = ()
    """Each mode that is not taken, with what stands against it."""
    tracker: str = ""
    """How written pages are found out, where the mode needs to know."""

    @property
    def obstacles(self) -> list[MigrateError]:
        """What stands against it; what the user has waived is left out."""
        return preflight.obstacles(self.verdicts)

    @property
    def risk(self) -> str:
        """What can be lost in this mode, "" when nothing."""
        return RISK if self.mode in LATE else ""

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "verdicts"}
        return plain | {
            "obstacles": [error.to_wire() for error in self.obstacles],
            "checks": [verdict.as_json() for verdict in self.verdicts], "risk": self.risk,
        }  # fmt: skip


def without_addresses(record: Record) -> Record:
    """As it goes to a target that is to choose new addresses."""
    network = msgspec.structs.replace(
        record.network, address="", address6="", gateway="", gateway6=""
    )
    return msgspec.structs.replace(record, network=network)


def describe_for_plan(
    paths: Paths, record: Record, spec: Spec, process: Process | None
) -> tuple[State, list[MigrateError]]:
    """The state as far as it is known now, and what can't be dumped."""
    network = record.network.name
    known_names = names.known(paths, network) if network else {}
    empty = State(record, spec, {}, (), names=known_names)
    if process is None:
        return empty, []
    try:
        mounts = external_mounts(record, spec, process.pid, read_mountinfo(process.pid))
    except MigrateError as error:
        return empty, [error]
    own = paths.container(record.identifier)
    known = driver_of(record.network.driver).neighbours(own)
    found = Contents()
    if reader := open_reader(record, process.pid):
        with reader:
            found = reader.read()
    return msgspec.structs.replace(
        empty, mounts=mounts, log_pipes=process.log_pipes, neighbours=known, netns=found
    ), []
