"""CRIU as a child of the monitor: its descriptors, its cgroup namespace, its signals."""

from __future__ import annotations

import fcntl
import os

from migrate.kernel.bare import signal
from migrate.kernel.namespaces import CLONE_NEWCGROUP, unshare

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any, NoReturn


def be_criu(
    launch: dict[str, Any], passed: list[int], numbers: list[int], argv: list[str],
    environment: dict[str, str],
) -> NoReturn:  # fmt: skip
    """Execute it with the descriptors `passed` at `numbers`, which are in a row; raises OSError."""
    _enter_cgroup_namespace(launch)
    above = numbers[-1] + 1
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in passed]
    for descriptor, number in zip(high, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(3, numbers[0])
    os.closerange(above, 4096)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.execve(argv[0], argv, environment)


def _enter_cgroup_namespace(launch: dict[str, Any]) -> None:
    """Root the cgroup namespace at the container's group, then leave the group again.

    CRIU is told to leave cgroups alone (its own way mounts every hierarchy anew), so what it
    restores inherits this namespace from it.
    """
    if "cgroup" not in launch["namespaces"]:
        return
    _move_to(launch["cgroups"])
    unshare(CLONE_NEWCGROUP)
    _move_to(launch["homes"])


def _move_to(directories: list[str]) -> None:
    for directory in directories:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")
