"""wait: until init has ended."""

from __future__ import annotations

import os
import select

from migrate.runtime import control
from migrate.runtime.errors import GenerationOld, MonitorFailed
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record, load_process


def wait(paths: Paths, record: Record) -> int:
    """Wait for the container's end; its exit status, 255 where none was recorded.

    Raises GenerationOld for one that has moved to another host.
    """
    own = paths.container(record.identifier)
    if record.moved_to:
        raise GenerationOld(
            f"'{record.name}' has moved to {record.moved_to}", cause="it can't be waited for here"
        )
    process = load_process(own)
    if process is not None and process.alive:
        try:
            return control.wait(own)
        except MonitorFailed:  # it was killed: who keeps the status is gone
            _await_end(process)
    control.await_monitor_end(process)
    return control.exit_status(own)


def _await_end(process: Process) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.alive:
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)
