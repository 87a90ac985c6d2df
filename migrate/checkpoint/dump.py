"""Dumping a frozen container's processes on this host."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Container
from pathlib import Path
from typing import Any

import msgspec

from migrate.checkpoint import linkremaps, subgroups
from migrate.checkpoint.errors import EndedWithCriu
from migrate.checkpoint.files import write_files
from migrate.checkpoint.freezing import has_stopped_tasks
from migrate.checkpoint.netns.reading import Reader
from migrate.checkpoint.staged import Staging
from migrate.checkpoint.state import NETNS_KEY, State, has_own_netns
from migrate.criu import client, cpu
from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuDied, CriuFailed
from migrate.kernel.threads import Task
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import ask
from migrate.runtime.errors import MonitorFailed
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Process

LOG = "dump.log"
IMAGES = "criu"
"""The directory of CRIU's images, beneath that of all that is dumped."""
UNREAD = "unread-input.img"
"""Beside CRIU's: what was typed and not read."""
SILENCE_LIMIT = 300.0  # seconds
DEATH_LIMIT = 0.2  # seconds that init may take to die of a lost tracer, and to be reaped


def dump_with_files(
    paths: Paths, criu: client.Swrk, state: State, process: Process, place: Path,
    held: Callable[[], None] | None = None, staging: Staging | None = None, *,
    skip: Collection[str] = (), network: Reader | None = None, logs_ahead: Container[str] = (),
) -> list[str]:  # fmt: skip
    """Dump into IMAGES beneath `place` while the files are written there; the names of all.

    `skip`: checks that do not count; without "cpu" the images say which CPU they need. `network`
    reads the container's network namespace, if it has one.

    With stopped tasks the files wait for the dump, which lets the others run meanwhile. `held`: as
    for `dump`; `staging`, `logs_ahead`: as for `write_files`. Raises what those two raise, when
    both have ended, and NotDumpable for what can't go along of the network.
    """
    own = paths.container(state.record.identifier)
    images = place / IMAGES
    stopped = has_stopped_tasks(state.record)
    if staging:
        staging.look()
    work = functools.partial(
        dump, paths, criu, state, process, images, own.state / LOG, held,
        any_cpu="cpu" in skip, thawed=stopped,
    )  # fmt: skip
    dumping = Task("dump", work)
    try:
        if stopped:
            dumping.result()
        if network:
            state = msgspec.structs.replace(state, netns=network.read_all(skip))
        if own_groups := subgroups.read(ControlGroup.of(state.record.identifier)):
            state = msgspec.structs.replace(state, subgroups=own_groups)
        with contextlib.suppress(MonitorFailed):
            ask(own, {"do": "drain"}, limit=2)
            if state.record.interactive:
                _keep_unread_input(own, images)
        names = write_files(paths, state, place, staging, logs_ahead=logs_ahead)
        dumping.result()
    finally:
        dumping.join()
    made = (name for name in os.listdir(images) if name.endswith(".img"))  # noqa: PTH208
    return names + sorted(f"{IMAGES}/{name}" for name in made)


def _keep_unread_input(own: ContainerPaths, images: Path) -> None:
    """CRIU restores no data into a pipe that it is given."""
    with (images / UNREAD).open("wb") as file:
        ask(own, {"do": "unread"}, [file.fileno()], limit=2)


def dump(
    paths: Paths, criu: client.Swrk, state: State, process: Process, images: Path,
    keep_log: Path | None = None, held: Callable[[], None] | None = None, *,
    any_cpu: bool = False, thawed: bool | None = None,
) -> None:  # fmt: skip
    """Dump the frozen container into the directory `images`; it stays frozen, and alive.

    CRIU finds the freezer frozen, thaws it under ptrace, and freezes it again before it lets go
    (CRIU, criu/seize.c, freezer_restore_state). With stopped tasks it must seize without the
    freezer: the tasks run on for some milliseconds, and whoever copies their files waits for the
    end of the dump; `thawed` says whether there are some, where that is known: it costs a read for
    each task. `held` is called when CRIU holds every task and has dumped nothing yet
    (CRIU's notification query-ext-files). Raises CriuFailed with cause and mend from the log (a
    copy of which is left at `keep_log`), DiskFull, CriuDied, EndedWithCriu.
    """
    options = dump_options(state, process, images)
    if not any_cpu:
        options.cpu_cap = cpu.REQUIREMENTS
    group = ControlGroup.of(state.record.identifier)
    if thawed is None:
        thawed = has_stopped_tasks(state.record)

    def notify(script: str, _pid: int) -> None:
        if script == "query-ext-files" and held:
            held()
        if script == "post-dump":
            linkremaps.write_down(paths, state, images)
            if thawed:
                group.request_freeze()

    if thawed:
        options.ClearField("freeze_cgroup")
        group.thaw()
    try:
        criu.request("DUMP", options, notify, SILENCE_LIMIT)
    except CriuFailed as error:
        raise explain(images / LOG, error.what, keep_log) from error
    except CriuDied as error:
        if client.wait_until_gone(process.pid, DEATH_LIMIT):
            raise _ended_with_it(state) from error
        raise
    finally:
        if thawed:
            group.freeze()


def _ended_with_it(state: State) -> EndedWithCriu:
    """What a kill of CRIU can do.

    CRIU puts code into each task and has it run up to a breakpoint (CRIU, compel/src/lib/infect.c,
    compel_execute_syscall). A tracer's death detaches the task, which then meets the breakpoint
    alone: SIGTRAP, ignored by nobody (Linux, kernel/signal.c, force_sig_info_to_task).
    """
    return EndedWithCriu(
        f"criu died during the dump of '{state.record.name}', and the container with it",
        cause="it was killed while its code ran inside the container's processes",
    )


def dump_options(state: State, process: Process, images: Path) -> Any:
    """The request's `criu_opts`."""
    options = client.base_options(images, LOG)
    if state.close_connections:
        client.close_connections(options)
    options.pid = process.pid
    options.leave_running = True
    options.freeze_cgroup = str(ControlGroup.of(state.record.identifier).freezer)
    options.irmap_scan_paths.extend(_watchable(process.pid))
    options.external.extend(f"mnt[{mount.target}]:{mount.key}" for mount in state.mounts)
    if has_own_netns(state.record):
        inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        options.external.append(f"net[{inode}]:{NETNS_KEY}")
    return options


def _watchable(pid: int) -> list[str]:
    """Where CRIU searches for what an inotify watch looks at.

    Overlay has no file handles that open again; CRIU then compares inode numbers (criu/irmap.c),
    and only if there is such a watch.
    """
    root = Path(f"/proc/{pid}/root")
    return [
        f"/{path.name}" for path in root.iterdir()
        if path.name not in {"proc", "sys", "dev"} and path.is_dir() and not path.is_symlink()
    ]  # fmt: skip
