"""rm: everything that this host has of a container, volumes apart."""

from __future__ import annotations

import contextlib

from migrate.runtime import records
from migrate.runtime.control import ask, await_monitor_end
from migrate.runtime.errors import MonitorFailed
from migrate.runtime.lifecycle.create import unmake
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process
from migrate.runtime.status import require
from migrate.runtime.storage import remove_storage


def delete(paths: Paths, record: Record, *, force: bool = False) -> None:
    """Remove it; a running one only with `force`. Raises WrongState."""
    own = paths.container(record.identifier)
    with records.locked(own, "rm"):
        accepted = ("stopped", "moved", "created", "running", "paused")
        require(paths, record, *(accepted if force else accepted[:2]))
        process = load_process(own)
        unmake(paths, record)
        # Init's end ends it; until then it writes into the directories to be removed.
        if not await_monitor_end(process, limit=2.0):
            dismiss_monitor(paths, record)
            await_monitor_end(process, limit=2.0)
        remove_storage(own)


def dismiss_monitor(paths: Paths, record: Record) -> None:
    """Ask the monitor to go, where it still serves."""
    own = paths.container(record.identifier)
    if own.socket.exists():
        with contextlib.suppress(MonitorFailed):
            ask(own, {"do": "leave"}, limit=2)
