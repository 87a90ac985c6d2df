"""Freezing and dumping a container's processes on this host, and letting them run again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from migrate.checkpoint.state import NETNS_KEY, State, has_own_netns
from migrate.criu import client
from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuFailed
from migrate.errors import MigrateError
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record

LOG = "dump.log"
SILENCE_LIMIT = 300.0  # seconds


def freeze(paths: Paths, record: Record) -> None:
    """Stop every process and let no packet pass; undone again when the freezing fails."""
    own = paths.container(record.identifier)
    ControlGroup.of(record.identifier).freeze()
    try:
        driver_of(record.network.driver).hold(own)
    except BaseException:
        thaw(paths, record)
        raise


def thaw(paths: Paths, record: Record) -> None:
    """The way back from `freeze`: packets pass, processes run."""
    own = paths.container(record.identifier)
    with contextlib.suppress(OSError, MigrateError):  # a lost interface must not keep it frozen
        driver_of(record.network.driver).release(own, record.network)
    ControlGroup.of(record.identifier).thaw()


def dump(
    criu: client.Swrk, state: State, process: Process, images: Path, keep_log: Path | None = None
) -> None:
    """Dump the frozen container into the directory `images`; it stays frozen, and alive.

    CRIU finds the freezer frozen, thaws it under ptrace, and freezes it again before it lets go
    (CRIU, criu/seize.c, freezer_restore_state). Raises CriuFailed with cause and mend from the
    log (a copy of which is left at `keep_log`), CriuDied.
    """
    options = dump_options(state, process, images)
    try:
        criu.request("DUMP", options, None, SILENCE_LIMIT)
    except CriuFailed as error:
        raise explain(images / LOG, error.what, keep_log) from error


def dump_options(state: State, process: Process, images: Path) -> Any:
    """The request's `criu_opts`."""
    options = client.base_options(images, LOG)
    options.pid = process.pid
    options.leave_running = True
    options.freeze_cgroup = str(ControlGroup.of(state.record.identifier).freezer)
    options.external.extend(f"mnt[{mount.target}]:{mount.key}" for mount in state.mounts)
    if has_own_netns(state.record):
        inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        options.external.append(f"net[{inode}]:{NETNS_KEY}")
    return options
