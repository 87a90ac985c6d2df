"""Stopping a container so that CRIU can seize its tasks, and letting it run again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.errors import MigrateError
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record

VFORK_LIMIT = 5.0  # seconds
# Where the parent of a vfork(2) waits (Linux, kernel/fork.c, wait_for_vfork_done), and the callers
# that it is inlined into; nothing else waits in those.
_IN_VFORK = {"wait_for_vfork_done", "kernel_clone", "_do_fork", "do_fork"}
_STOPPED = {"do_signal_stop"}


def freeze(paths: Paths, record: Record) -> None:
    """Stop every process, none inside vfork(2), and let no packet pass.

    Undone again when it fails: raises CgroupFailed, NotDumpable, OSError.
    """
    own = paths.container(record.identifier)
    try:
        _freeze_outside_vfork(record)
        driver_of(record.network.driver).hold(own, record.network)
    except BaseException:
        thaw(paths, record)
        raise


def thaw(paths: Paths, record: Record) -> None:
    """The way back from `freeze`: packets pass, processes run."""
    own = paths.container(record.identifier)
    with contextlib.suppress(OSError, MigrateError):  # a lost interface must not keep it frozen
        driver_of(record.network.driver).release(own, record.network)
    ControlGroup.of(record.identifier).thaw()


def has_stopped_tasks(record: Record) -> bool:
    """Whether a task of the (frozen) container is stopped by a signal, under the v1 freezer.

    The kernel does not let a tracer seize such a task while that freezer holds it: CRIU would hang
    in PTRACE_SEIZE (Linux, kernel/ptrace.c, ptrace_attach waits for JOBCTL_TRAPPING).
    """
    group = ControlGroup.of(record.identifier)
    return group.layout.freezer_version == 1 and bool(_waiting(group, _STOPPED))


def _freeze_outside_vfork(record: Record) -> None:
    """Freeze at a moment at which no task waits for its vfork child to exec.

    Both freezers take such a parent for frozen, but no tracer can stop it before its child has
    gone on, which CRIU holds: it would wait for ever. The child needs some microseconds.
    """
    group = ControlGroup.of(record.identifier)
    deadline = time.monotonic() + VFORK_LIMIT
    pause = 0.0005
    group.freeze()
    while waiting := _waiting(group, _IN_VFORK):
        group.thaw()
        if time.monotonic() > deadline:
            raise NotDumpable(
                f"'{record.name}' can't be checkpointed now",
                cause=f"a vfork(2) of task {waiting[0]} does not come to an end (tried for "
                f"{VFORK_LIMIT:g} s); CRIU can't seize a task that waits for its vfork child",
                mend="try again when it starts fewer programs, or look why its child does not exec",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)
        group.freeze()


def _waiting(group: ControlGroup, where: set[str]) -> list[int]:
    """The tasks (threads, too) that wait in one of these functions of the kernel."""
    return [task for task, channel in _wait_channels(group) if channel in where]


def _wait_channels(group: ControlGroup) -> Iterator[tuple[int, str]]:
    """Within the pause, and once for each task: without `pathlib`, a third of the time."""
    for pid in group.pids():
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    yield int(task), _read(f"/proc/{pid}/task/{task}/wchan")


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 256).decode()  # a symbol's name (Linux, KSYM_NAME_LEN: 512)
    finally:
        os.close(descriptor)
