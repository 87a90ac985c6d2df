"""kill and stop: a signal to init, and SIGKILL when it does not end in time."""

from __future__ import annotations

import select
import signal

from migrate.kernel.processes import pidfd_open, pidfd_send_signal
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import await_monitor_end
from migrate.runtime.errors import MonitorFailed, SpecInvalid
from migrate.runtime.lifecycle.create import mark_stopped
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record
from migrate.runtime.status import process_of_container, require


def signal_number(name: str) -> int:
    """The number of "TERM", "SIGTERM" or "15"; raises SpecInvalid."""
    try:
        number = int(name) if name.isdigit() else signal.Signals[_full_name(name)].value
        return signal.Signals(number).value
    except (KeyError, ValueError):
        raise SpecInvalid(f"there is no signal '{name}'", mend="see signal(7)") from None


def _full_name(name: str) -> str:
    name = name.upper()
    return name if name.startswith("SIG") else f"SIG{name}"


def kill(paths: Paths, record: Record, name: str = "KILL") -> None:
    """Send a signal to init; raises WrongState when there is none."""
    number = signal_number(name)
    require(paths, record, "running", "paused", "created")
    process = process_of_container(paths, record)
    _send(process, number)
    if number == signal.SIGKILL:
        group = ControlGroup.of(record.identifier)
        if group.frozen:
            group.thaw()


def _send(process: Process, number: int) -> None:
    descriptor = pidfd_open(process.pid)
    import os

    try:
        if process.alive:
            pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def stop(paths: Paths, record: Record, limit: float) -> bool:
    """Ask init to end, and kill everything after `limit` seconds; True if it had to be killed.

    One that has ended and would be started again stays as it is.
    """
    own = paths.container(record.identifier)
    with records.locked(own, "stop"):
        ended = ("stopped",) if record.restart else ()
        if require(paths, record, "running", "paused", "created", *ended).word == "stopped":
            mark_stopped(own)
            return False
        return stop_locked(paths, record, limit)


def stop_locked(paths: Paths, record: Record, limit: float) -> bool:
    """`stop` for a caller that holds the container's lock and knows its state."""
    process = process_of_container(paths, record)
    mark_stopped(paths.container(record.identifier))
    group = ControlGroup.of(record.identifier)
    if group.frozen:
        group.thaw()
    if process.started:
        _send(process, signal_number(record.stop_signal))
        if _ended(process, limit):
            _settle(record, process)
            return False
    group.kill()
    _ended(process, 10)
    _settle(record, process)
    return True


def _settle(record: Record, process: Process) -> None:
    """Wait until the monitor has written the exit status down and gone, if there still is one."""
    if not await_monitor_end(process):
        raise MonitorFailed(
            f"the exit status of '{record.name}' was not recorded", cause="its monitor hangs"
        )


def _ended(process: Process, limit: float) -> bool:
    """Whether the process ends within `limit` seconds."""
    import os

    try:
        descriptor = pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not process.alive:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(limit * 1000))
    finally:
        os.close(descriptor)
