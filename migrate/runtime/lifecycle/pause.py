"""pause and resume: the freezer."""

from __future__ import annotations

from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import require


def pause(paths: Paths, record: Record) -> None:
    """Freeze every process; raises WrongState, CgroupFailed."""
    with records.locked(paths.container(record.identifier), "pause"):
        require(paths, record, "running")
        ControlGroup.of(record.identifier).freeze()


def resume(paths: Paths, record: Record) -> None:
    """Let a paused container run; raises WrongState.

    Packets pass again, too: a checkpoint that was killed leaves the container frozen and held.
    """
    own = paths.container(record.identifier)
    with records.locked(own, "resume"):
        require(paths, record, "paused")
        driver_of(record.network.driver).release(own, record.network)
        ControlGroup.of(record.identifier).thaw()
