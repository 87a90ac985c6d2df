"""The init of a test host: `python -m tests.hosts.init`, its orders as JSON on stdin.

Two processes: the starter, a child of whoever made the host, enters the cgroups and makes the
namespaces; init is its child and pid 1 inside. Each dies with its parent, and with pid 1 the
kernel ends every process of the host.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from migrate.kernel import namespaces, processes
from tests.hosts import cgroups
from tests.hosts.namespaces import client_mounts, host_mounts

_FLAGS = (
    namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWCGROUP
)  # fmt: skip


def _reap_for_ever() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


def _start_sshd(orders: dict[str, Any]) -> None:
    log = Path(orders["directory"]) / "sshd.log"
    subprocess.Popen(
        [orders["sshd"], "-D", "-f", "/etc/ssh/sshd_config", "-E", str(log)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=orders["environment"], cwd="/root", start_new_session=True,
    )  # fmt: skip


def _be_init(orders: dict[str, Any], announced: int) -> None:
    """Set the host up, say so when `announced` ends, and reap orphans until killed."""
    processes.set_parent_death_signal(signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # all that runs on the host inherits it
    namespaces.set_host_name(orders["name"])
    if orders["is_client"]:
        client_mounts()
    else:
        hierarchies = [
            cgroups.Hierarchy(Path(point), version, options)
            for point, version, options in orders["hierarchies"]
        ]
        host_mounts(Path(orders["directory"]), hierarchies, orders["keep"])
        _start_sshd(orders)
    os.chdir("/")
    os.read(announced, 1)  # the pid is told first, by another process
    os.close(announced)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    _reap_for_ever()


def main() -> int:
    """Exit code 0 when init was told to end, 1 when the host could not be made."""
    processes.set_parent_death_signal(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever made the host
    orders = json.loads(sys.stdin.readline())
    if os.getppid() != orders["parent"]:
        return 1
    # On v2 the root of the cgroup namespace is the group where the process is when it is made.
    cgroups.join(orders["cgroup"], inner=False)
    namespaces.unshare(_FLAGS)
    cgroups.settle(orders["cgroup"])
    announced, announcing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(announcing)
        try:
            _be_init(orders, announced)
        finally:
            import traceback

            traceback.print_exc()
            os._exit(1)
    print(pid, flush=True)
    os.close(announcing)
    os.close(1)
    os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
