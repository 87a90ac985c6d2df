"""A container's first process, from its fork in the monitor: cgroups, namespaces, then init."""

from __future__ import annotations

import os

from migrate.kernel.bare import json, signal
from migrate.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    setns,
    unshare,
)
from migrate.runtime.init import EXIT_SETUP, be_init

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    import socket
    from typing import Any, NoReturn

_UNSHARED = {
    "mount": CLONE_NEWNS, "uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "cgroup": CLONE_NEWCGROUP,
}  # fmt: skip


def _door(directory: str) -> int:
    return os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)


def be_first(
    launch: dict[str, Any], streams: tuple[int, int, int], console: socket.socket | None,
    report: int,
) -> NoReturn:  # fmt: skip
    """The first process of its pid namespace: enter cgroups and the other namespaces, be init."""
    step = "signals"
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        step = "control group"
        for door in launch.get("doors") or map(_door, launch["cgroups"]):
            os.write(door, b"0")
            os.close(door)
        step = "network namespace"
        if launch["netns"]:
            netns = os.open(launch["netns"], os.O_RDONLY | os.O_CLOEXEC)
            setns(netns, CLONE_NEWNET)
            os.close(netns)
        step = "namespaces"
        unshare(sum(flag for kind, flag in _UNSHARED.items() if kind in launch["namespaces"]))
    except OSError as error:
        os.write(report, json.dumps({"step": step, "error": str(error)}).encode())
        os._exit(EXIT_SETUP)
    be_init(launch, streams, console, report)
