"""update: other limits for a container that is there, at once and for its next start."""

from __future__ import annotations

import contextlib

import msgspec

from migrate.errors import MigrateError
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.usage import memory_in_use
from migrate.runtime.errors import CgroupFailed
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, Resources
from migrate.runtime.status import require


def update(
    paths: Paths, record: Record, *, memory: int | None = None, cpus: float | None = None,
    pids: int | None = None,
) -> Record:  # fmt: skip
    """The record with its new limits, saved; None leaves a limit as it is, 0 takes it away.

    Bytes, cores, a count. Raises WrongState, CgroupFailed; then the old limits stand. A limit of
    memory below what is in use is refused: version 2 of control groups would kill for it.
    """
    with records.locked(paths.container(record.identifier), "update"):
        status = require(paths, record, "running", "paused", "created", "stopped")
        record = records.reload(paths, record)
        before = record.resources
        after = Resources(
            memory=before.memory if memory is None else memory,
            cpus=before.cpus if cpus is None else cpus,
            pids=before.pids if pids is None else pids,
        )
        if status.word != "stopped":
            _apply(ControlGroup.of(record.identifier), record, before, after)
        record = msgspec.structs.replace(record, resources=after)
        records.save(paths, record)
    return record


def _apply(group: ControlGroup, record: Record, before: Resources, after: Resources) -> None:
    used = memory_in_use(group)
    if after.memory and after.memory != before.memory and used and used > after.memory:
        raise CgroupFailed(
            f"can't limit the memory of '{record.name}' to {after.memory} bytes",
            cause=f"it uses {used} bytes", mend="give a higher limit, or stop it first",
        )  # fmt: skip
    try:
        group.change_limits(before, after)
    except MigrateError:
        with contextlib.suppress(MigrateError):
            group.change_limits(after, before)
        raise
