"""sd_notify(3) for a container: its READY=1 goes on to who has started the command.

As with runc: where NOTIFY_SOCKET is set, `create` shows a directory of the container's own at
/run/notify, `start` (or `run`) listens on a socket there, and passes the first READY=1 on, with
MAINPID where the command itself ends before the container.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterable
from typing import Any

DIRECTORY = "notify"
_NAME = "notify.sock"
_PLACE = "/run/notify"
_LONGEST = 4096  # bytes of one message
_BARRIER_LIMIT = 30_000  # milliseconds for BARRIER=1 (sd_notify_barrier(3))
_BARRIER_DUE = 0.1  # seconds after READY=1


def is_missing(spec: dict[str, Any], places: Iterable[str]) -> bool:
    """Whether a checkpoint has the mount (among its `places`), and the bundle at hand has not."""
    shown = {str(entry["destination"]) for entry in spec.get("mounts") or []}
    return _PLACE in places and _PLACE not in shown


def show(directory: str, spec: dict[str, Any], *, wanted: bool = False) -> None:
    """Add the mount and the variable to `spec`, if our caller wants to be told; raises OSError.

    `wanted`: whatever our caller wants.
    """
    if not wanted and not os.environ.get("NOTIFY_SOCKET"):
        return
    place = f"{directory}/{DIRECTORY}"
    os.mkdir(place, 0o755)
    options = ["bind", "nosuid", "noexec", "nodev", "ro"]
    mount = {"destination": _PLACE, "type": "bind", "source": place, "options": options}
    spec["mounts"] = [*(spec.get("mounts") or []), mount]
    process = spec["process"]
    others = [e for e in process.get("env") or [] if not e.startswith("NOTIFY_SOCKET=")]
    process["env"] = [*others, f"NOTIFY_SOCKET={_PLACE}/{_NAME}"]


def listen(directory: str) -> socket.socket | None:
    """The socket that the container's program writes to; None where nobody wants to be told."""
    path = f"{directory}/{DIRECTORY}/{_NAME}"
    if not os.environ.get("NOTIFY_SOCKET") or not os.path.isdir(os.path.dirname(path)):
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(path)
    os.chmod(path, 0o777)  # noqa: S103 -- the program may have any user; only it sees the path
    return made


def pass_on(source: socket.socket, pid: int, *, main: bool) -> None:
    """Wait for READY=1, or the end of `pid`; with `main` tell its pid as MAINPID.

    A caller that can't be reached is passed over: the container runs all the same.
    """
    try:
        ended = os.pidfd_open(pid)
    except OSError:
        return  # it has ended and is reaped
    try:
        while True:
            ready, _, _ = select.select([source.fileno(), ended], [], [])
            if source.fileno() not in ready:
                return
            if b"READY=1" in source.recv(_LONGEST).split(b"\n"):
                break
        with contextlib.suppress(OSError):
            _tell(pid if main else 0)
        _await_barrier(source, ended, _BARRIER_DUE if main else None)
    finally:
        os.close(ended)


def _await_barrier(source: socket.socket, ended: int, limit: float | None) -> None:
    """Stay a while: who says READY=1 sends a barrier next, and fails if nobody is there.

    sd_notify_barrier(3): its descriptor is to be closed, as one is that is not asked for here.
    `limit` in seconds; None is until the end of the container.
    """
    while source.fileno() in select.select([source.fileno(), ended], [], [], limit)[0]:
        if b"BARRIER=1" in source.recv(_LONGEST).split(b"\n") and limit is not None:
            return


def _tell(pid: int) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):  # an abstract one (sd_notify(3))
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as caller:
        caller.connect(address)
        caller.send(b"READY=1\n")
        if not pid:
            return
        caller.send(f"MAINPID={pid}\n".encode())
        mine, theirs = os.pipe()
        socket.send_fds(caller, [b"BARRIER=1"], [theirs])
        os.close(theirs)
        seen = select.poll()
        seen.register(mine, 0)  # its end is told whatever is asked for
        seen.poll(_BARRIER_LIMIT)
        os.close(mine)
