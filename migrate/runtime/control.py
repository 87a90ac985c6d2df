"""The commands' side of the monitor: starting one, and talking to it."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
from collections.abc import Sequence
from typing import Any

from migrate.runtime import monitorstart
from migrate.runtime.cgroups import tree
from migrate.runtime.errors import MonitorFailed, StartFailed
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec
from migrate.runtime.waiting import Waiting

ANSWER_LIMIT = 30.0  # seconds
_MENDS = {
    "program": "give a program that the container has and may execute, with its path or in PATH",
    "working directory": "give a directory that the container has (-w)",
    "network namespace": "'migrate doctor' tells what is missing",
}


def launch_monitor(
    own: ContainerPaths, record: Record, spec: Spec, *, mode: str, network: bool
) -> dict[str, Any]:
    """Start the monitor (`mode` is create or restore) and wait for its answer.

    The answer is `{"ready": true, "pid": init's pid or 0, "pipes": {...}}`. Raises StartFailed
    naming the step of init's set-up that failed, MonitorFailed when there is no answer.
    """
    message = monitorstart.message(
        own,
        spec,
        tree.detect(),
        mode=mode,
        network=network,
        remove=record.remove_at_exit,
        log_limits=(record.log_max_size, record.log_max_files - 1),
        restart=record.restart,
        interactive=record.interactive,
    )
    own.filling.unlink(missing_ok=True)  # of processes that are no more
    own.stopped.unlink(missing_ok=True)
    log = own.run / "monitor.log"
    pid, line = monitorstart.start(message, str(log))
    if not line:
        cause = log.read_text(errors="replace")[-1000:] or "it ended"
        raise MonitorFailed(f"the monitor of '{record.name}' did not start", cause=cause)
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise StartFailed(
            f"can't set up the container '{record.name}': {answer['step']}",
            cause=answer["error"],
            mend=_MENDS.get(answer["step"], "mend what the cause names, then try again"),
        )
    return answer | {"monitor": pid}


def ask(
    own: ContainerPaths, request: dict[str, Any], descriptors: Sequence[int] = (),
    limit: float | None = ANSWER_LIMIT,
) -> dict[str, Any]:  # fmt: skip
    """Send one request to the monitor and return its answer; raises MonitorFailed."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(limit)
            channel.connect(str(own.socket))
            rights = array.array("i", descriptors).tobytes()
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
            channel.sendmsg([json.dumps(request).encode()], extra)
            data = channel.recv(65536)
    except OSError as error:
        raise MonitorFailed("the container's monitor does not answer", cause=str(error)) from error
    answer: dict[str, Any] = json.loads(data) if data else {"error": "it hung up"}
    if "error" in answer:
        raise MonitorFailed(
            f"the monitor could not do '{request['do']}'", cause=str(answer["error"])
        )
    return answer


def wait(own: ContainerPaths) -> int:
    """Wait until init has ended; its exit status (128 + n for signal n)."""
    try:
        with contextlib.closing(Waiting(str(own.socket))) as waiting:
            while (status := waiting.poll(None)) is None:
                pass
            return status
    except MonitorFailed:
        if own.exit.exists():
            return exit_status(own)
        raise


def await_monitor_end(process: Process | None, limit: float = 5.0) -> bool:
    """Wait for the end of a container's monitor; False if it serves on after `limit` seconds."""
    if process is None:
        return True
    try:
        descriptor = os.pidfd_open(process.monitor)
    except ProcessLookupError:
        return True
    try:
        if not process.monitored:  # it, or who had its pid since, is none of ours
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(limit * 1000))
    finally:
        os.close(descriptor)


def exit_status(own: ContainerPaths) -> int:
    """The recorded exit status; 255 where none was recorded (host went down, monitor killed)."""
    try:
        return int(json.loads(own.exit.read_bytes())["status"])
    except (OSError, ValueError, KeyError):
        return 255
