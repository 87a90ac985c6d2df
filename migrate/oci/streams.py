"""What the caller passes to a container's process: descriptors; and pid files that it wants."""

from __future__ import annotations

import os
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
