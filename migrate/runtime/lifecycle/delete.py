"""rm: everything that this host has of a container, volumes apart."""

from __future__ import annotations

import contextlib
import time

from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import ask
from migrate.runtime.errors import MonitorFailed
from migrate.runtime.lifecycle.create import forget_network, mark_stopped, unmake
from migrate.runtime.monitorstart import serves
from migrate.runtime.networks import names
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import require
from migrate.runtime.storage import remove_storage

MONITOR_LIMIT = 2.0  # seconds for its own end
_PAUSE = 0.002


def delete(paths: Paths, record: Record, *, force: bool = False) -> None:
    """Remove it; a running one only with `force`. Raises WrongState."""
    own = paths.container(record.identifier)
    with records.locked(own, "rm"):
        accepted = ("stopped", "moved", "created", "running", "paused")
        require(paths, record, *(accepted if force else accepted[:2]))
        mark_stopped(own)
        _end_monitor(paths, record)
        unmake(paths, record)
        forget_network(paths, record)
        remove_storage(own)
    names.removed(paths, record)


def _end_monitor(paths: Paths, record: Record) -> None:
    """Kill all processes until the monitor has ended: init's end ends it.

    It writes into the directories that are to be removed; and that of a killed command may be about
    to make an init, which nothing but this tells.
    """
    own = paths.container(record.identifier)
    group = ControlGroup.of(record.identifier)
    begun = time.monotonic()
    while True:
        group.kill()
        if not serves(str(own.run / "monitor.log")):
            return
        waited = time.monotonic() - begun
        if waited > MONITOR_LIMIT:
            dismiss_monitor(paths, record)
        if waited > 2 * MONITOR_LIMIT:
            return
        time.sleep(_PAUSE)


def dismiss_monitor(paths: Paths, record: Record) -> None:
    """Ask the monitor to go, where it still serves."""
    own = paths.container(record.identifier)
    if own.socket.exists():
        with contextlib.suppress(MonitorFailed):
            ask(own, {"do": "leave"}, limit=2)
