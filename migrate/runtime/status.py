"""What state a container is in, read from the kernel each time, never from a stored word."""

from __future__ import annotations

from dataclasses import dataclass

from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.control import exit_status
from migrate.runtime.errors import MoveUnsettled, WrongState
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record, load_process, reload

NEXT_STEP = {
    "running": "stop it with 'migrate stop', or look with 'migrate ps'",
    "paused": "let it run again with 'migrate resume'",
    "created": "start it with 'migrate start'",
    "stopped": "start it again with 'migrate start', or remove it with 'migrate rm'",
    "moved": "it runs on the host that 'migrate inspect' names",
    "checkpointed": "bring it back with 'migrate restore'",
}


@dataclass(frozen=True)
class Status:
    """One of created, running, paused, stopped, moved; with the pid while there is one."""

    word: str
    pid: int = 0
    exit_status: int | None = None


def status_of(paths: Paths, record: Record, layout: Layout | None = None) -> Status:
    """The container's status now; who asks for many gives what `layout.detect` has found."""
    own = paths.container(record.identifier)
    process = load_process(own)
    if record.moved_to:
        return Status("moved")
    if process is None or not process.alive:
        return Status("stopped", exit_status=exit_status(own) if own.exit.exists() else None)
    if not process.started:
        return Status("created", process.pid)
    group = ControlGroup(record.identifier, layout) if layout else ControlGroup.of(own.identifier)
    frozen = group.frozen
    return Status("paused" if frozen else "running", process.pid)


def require(paths: Paths, record: Record, *words: str) -> Status:
    """The status, if it is one of `words`; raises WrongState with the next step otherwise.

    The record is read again: what the caller read before it held the lock may be old.
    """
    record = reload(paths, record)
    if record.held:
        raise MoveUnsettled(
            f"the container '{record.name}' is held by a move",
            cause=f"move {record.held} is under way, or was interrupted",
        )
    if paths.container(record.identifier).before_restore.exists():
        raise WrongState(
            f"a restore of '{record.name}' was cut off",
            cause="its files are partly the checkpoint's",
            mend=f"restore it again, or put back what it was: 'migrate recover {record.name}'",
        )
    status = status_of(paths, record)
    if status.word not in words:
        raise WrongState(
            f"the container '{record.name}' is {status.word}",
            cause=f"this needs it to be {' or '.join(words)}",
            mend=NEXT_STEP[status.word],
        )
    return status


def process_of_container(paths: Paths, record: Record) -> Process:
    """Init's identity; raises WrongState when it is not alive."""
    process = load_process(paths.container(record.identifier))
    if process is None or not process.alive:
        raise WrongState(f"the container '{record.name}' has no process", mend=NEXT_STEP["stopped"])
    return process
