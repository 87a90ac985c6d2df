"""start: let a created init run its program; a stopped container is made anew first."""

from __future__ import annotations

import msgspec

from migrate.runtime import records
from migrate.runtime.control import await_monitor_end
from migrate.runtime.cordon import refuse_if_cordoned
from migrate.runtime.errors import GenerationOld
from migrate.runtime.lifecycle.create import load_spec, prepare_and_launch, unmake
from migrate.runtime.networks import driver_of, names
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import process_of_container, require, status_of
from migrate.runtime.waiting import release_init


def start(paths: Paths, record: Record, *, again: bool = False) -> None:
    """Start it; raises WrongState when it runs, GenerationOld if it has moved on, HostCordoned.

    `again`: by its restart policy, and so not after somebody has stopped it.
    """
    own = paths.container(record.identifier)
    if record.moved_to:
        raise GenerationOld(
            f"'{record.name}' has moved to {record.moved_to}",
            cause=f"the record here is of generation {record.generation}",
        )
    with records.locked(own, "start"):
        require(paths, record, "created", "stopped")
        if again and own.stopped.exists():
            return
        refuse_if_cordoned(paths, f"start '{record.name}'")
        if status_of(paths, record).word == "stopped":
            await_monitor_end(records.load_process(own))  # it may be writing the old status down
            paths.make()  # a reboot has taken what is volatile
            unmake(paths, record)
            prepare_and_launch(paths, record, load_spec(paths, record))
            driver_of(record.network.driver).release(own, record.network)
            names.refresh(paths, record)
        process = process_of_container(paths, record)
        if own.fifo.exists():  # else it was let go, and that could not be written down
            release_init(str(own.fifo))
        records.save_process(own, msgspec.structs.replace(process, started=True))
