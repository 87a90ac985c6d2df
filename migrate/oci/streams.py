"""What the caller passes to a process: descriptors, a console socket; and its pid file."""

from __future__ import annotations

import os

from migrate.kernel.bare import socket
from migrate.oci.errors import BadUsage

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any


def listening(process: dict[str, Any]) -> int:
    """How many descriptors systemd's socket activation passes (sd_listen_fds(3)).

    LISTEN_FDS and LISTEN_PID are put into the process's environment.
    """
    text = os.environ.get("LISTEN_FDS", "")
    if not text.isdigit():
        return 0
    ours = ("LISTEN_FDS=", "LISTEN_PID=")
    others = [entry for entry in process.get("env") or [] if not entry.startswith(ours)]
    process["env"] = [*others, f"LISTEN_FDS={text}", "LISTEN_PID=1"]
    return int(text)


def written_pid(path: str, pid: int) -> None:
    """Write a pid file, all or nothing, without a line end, as runc does."""
    directory, name = os.path.split(os.path.abspath(path))
    temporary = f"{directory}/.{name}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def connected(path: str) -> socket.socket:
    """A connection to the console socket; raises BadUsage."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(path)
    except OSError as error:
        channel.close()
        raise BadUsage(f"can't reach the console socket {path}", cause=str(error)) from error
    return channel


def console_size(process: dict[str, Any]) -> bytes:
    """`process.consoleSize` as a struct winsize; empty where there is none."""
    size = process.get("consoleSize") or {}
    if not size:
        return b""
    import struct

    return struct.pack("HHHH", size.get("height", 0), size.get("width", 0), 0, 0)
