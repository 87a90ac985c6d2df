"""The command's side of a container's making: forks, answers what comes back, runs the hooks."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from migrate.oci.errors import SetupFailed
from migrate.oci.init import Place, be_init
from migrate.oci.joining import Joining, be_middle, write_maps

LIMIT = 120.0  # seconds for all of the set-up, hooks apart
_PACKET = 65536
_JOIN_ATTEMPTS = 20


def launch(
    spec: dict[str, Any], joining: Joining, place: Place, when_known: Callable[[int], None]
) -> int:
    """Fork init and see it to its waiting for `start`; its pid.

    `when_known` gets the pid when the namespaces are there and nothing is mounted yet: it stores
    it and runs the hooks of the runtime's namespaces. Raises SetupFailed, and what it raises.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    middle = os.fork()
    if middle == 0:
        ours.close()
        be_middle(joining, theirs, lambda channel, pid: be_init(spec, place, channel, pid))
    theirs.close()
    pid = 0
    try:
        while True:
            message = _receive(ours)
            if message.get("map"):
                write_maps(middle, spec.get("linux") or {})
                ours.send(b'{"go": true}')
            elif "pid" in message:
                pid = int(message["pid"])
                _join(joining, pid)
                when_known(pid)
                ours.send(json.dumps({"go": pid}).encode())
            elif message.get("ready"):
                return pid
            else:
                raise _failed(message)
    finally:
        ours.close()
        os.waitpid(middle, 0)


def _failed(message: dict[str, Any]) -> SetupFailed:
    return SetupFailed(
        f"unable to start container process: {message.get('step')}",
        cause=str(message.get("error")), mend="mend what the cause names",
    )  # fmt: skip


def _join(joining: Joining, pid: int) -> None:
    """Put init into its groups; one that was pruned before somebody was in it is made again."""
    for attempts_left in reversed(range(_JOIN_ATTEMPTS)):
        try:
            for directory in joining.groups:
                with open(f"{directory}/cgroup.procs", "w") as file:
                    file.write(str(pid))
            return
        except OSError as error:
            pruned = error.errno in {errno.ENOENT, errno.ENODEV} and joining.remake
            if not pruned or not attempts_left:
                raise _failed({"step": "control group", "error": error}) from error
            if joining.remake:
                joining.remake()


def _receive(channel: socket.socket) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT
    ready, _, _ = select.select([channel], [], [], deadline - time.monotonic())
    data = channel.recv(_PACKET) if ready else b""
    if not data:
        return {"step": "init", "error": "it ended without a word" if ready else "it hangs"}
    message: dict[str, Any] = json.loads(data)
    return message
