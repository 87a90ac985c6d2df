"""The commands' side of the monitor: starting one, and talking to it."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import migrate
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import MonitorFailed, StartFailed
from migrate.runtime.monitorstart import start
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec, namespace_kinds

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
    group = ControlGroup.of(record.identifier)
    message = {
        "mode": mode,
        "identifier": record.identifier,
        "spec": spec,
        "rootfs": str(own.rootfs),
        "netns": str(own.netns) if network else "",
        "cgroups": [str(path) for path in group.directories],
        "homes": group.layout.trees.homes(),
        "namespaces": sorted(namespace_kinds(spec)),
        "fifo": str(own.fifo),
        "socket": str(own.socket),
        "log": str(own.log),
        "exit": str(own.exit),
        "record": str(own.record),
        "at_exit": _removal(record) if record.remove_at_exit else None,
    }
    own.filling.unlink(missing_ok=True)  # of processes that are no more
    log = own.run / "monitor.log"
    pid, line = start(message, str(log))
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


def _removal(record: Record) -> list[str]:
    package_root = str(Path(migrate.__file__).parent.parent)
    boot = f"import sys; sys.path.insert(0, {package_root!r}); from migrate.cli.main import main"
    return [sys.executable, "-c", f"{boot}; main()", "rm", record.identifier]


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


class Waiting:
    """A wait for init's end that begins when this is made: nothing that comes later is missed."""

    def __init__(self, own: ContainerPaths, *, removes: bool = False) -> None:
        """With `removes` the caller promises to remove a container of `--rm` before `close`.

        Raises MonitorFailed when the monitor does not serve.
        """
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._channel.connect(str(own.socket))
            self._channel.send(json.dumps({"do": "wait", "removes": removes}).encode())
        except OSError as error:
            self._channel.close()
            raise MonitorFailed(
                "the container's monitor does not answer", cause=str(error)
            ) from error

    def fileno(self) -> int:
        """Readable when there is an answer, for select and poll."""
        return self._channel.fileno()

    def poll(self, limit: float | None) -> int | None:
        """Init's exit status (128 + n for signal n); None if it runs on after `limit` seconds.

        Raises MonitorFailed when the monitor has died.
        """
        ready, _, _ = select.select([self._channel], [], [], limit)
        if not ready:
            return None
        try:
            data = self._channel.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise MonitorFailed(
                "the container's monitor has died", cause="somebody or something ended it",
                mend="the container may run on: see 'migrate ps'; its output is lost",
            )  # fmt: skip
        return int(json.loads(data)["status"])

    def close(self) -> None:
        """Wait no longer."""
        self._channel.close()


def wait(own: ContainerPaths) -> int:
    """Wait until init has ended; its exit status (128 + n for signal n)."""
    try:
        with contextlib.closing(Waiting(own)) as waiting:
            status = waiting.poll(None)
            assert status is not None
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


def release_fifo(own: ContainerPaths, limit: float = 5.0) -> None:
    """Let a created init exec its program; raises StartFailed when it does not answer."""
    try:
        descriptor = os.open(own.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StartFailed("the container can't be started", cause="its fifo is gone") from error
    with os.fdopen(descriptor, "rb", buffering=0) as fifo:
        ready, _, _ = select.select([fifo], [], [], limit)
        if not ready or not fifo.read(1):
            raise StartFailed("the container's init does not answer", cause="it has died")
    own.fifo.unlink()
