"""Raw `criu dump` and `criu restore` of a container's processes: what a move is measured against.

`python -m migrate.bench.rawcriu NAME` runs both by CRIU's own command line, with the options that
migrate gives it, on the processes of the running container NAME, ends them, and prints
`{"dump": seconds, "restore": seconds}`: wall time from the start to the end of each command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from migrate.bench.errors import BenchImpossible
from migrate.checkpoint.state import NETNS_KEY, State, describe, has_own_netns, mask_directory
from migrate.criu.diagnosis import first_error
from migrate.criu.provide import criu_binary, prime_feature_cache
from migrate.kernel.processes import set_child_subreaper
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.paths import Paths
from migrate.runtime.status import process_of_container

COMMON = ("--tcp-established", "--file-locks", "--link-remap", "--manage-cgroups=ignore",
          "--network-lock", "skip", "-v2")  # fmt: skip


def measure(paths: Paths, name: str) -> dict[str, float]:
    """Dump and restore once; the seconds of each. The container's processes are gone afterwards."""
    record = records.find(paths, name)
    process = process_of_container(paths, record)
    state = describe(paths, record, load_spec(paths, record), process)
    prime_feature_cache()
    set_child_subreaper()
    with tempfile.TemporaryDirectory(dir=paths.state) as images:
        dump = _timed(_dump_command(state, process.pid), Path(images), "dump.log")
        pid_file = Path(images) / "pid"
        restore = _timed(_restore_command(paths, state, pid_file), Path(images), "restore.log")
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"dump": dump, "restore": restore}


def _dump_command(state: State, pid: int) -> list[str]:
    command = [str(criu_binary()), "dump", "-t", str(pid), *COMMON]
    command += ["--freeze-cgroup", str(ControlGroup.of(state.record.identifier).freezer)]
    for mount in state.mounts:
        command += ["--external", f"mnt[{mount.target}]:{mount.key}"]
    if has_own_netns(state.record):
        inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
        command += ["--external", f"net[{inode}]:{NETNS_KEY}"]
    return command


def _restore_command(paths: Paths, state: State, pid_file: Path) -> list[str]:
    own = paths.container(state.record.identifier)
    command = [str(criu_binary()), "restore", "-d", *COMMON, "--root", str(own.rootfs)]
    command += ["--pidfile", str(pid_file)]
    for mount in state.mounts:
        source = "/dev/null" if mount.kind == "mask-file" else str(mask_directory(paths))
        command += ["--external", f"mnt[{mount.key}]:{source}"]
    if has_own_netns(state.record):
        netns = os.open(own.netns, os.O_RDONLY)
        os.set_inheritable(netns, True)
        command += ["--inherit-fd", f"fd[{netns}]:{NETNS_KEY}"]
    for pipe in sorted(set(state.log_pipes.values())):
        null = os.open("/dev/null", os.O_WRONLY)  # one each: CRIU closes what it has used
        os.set_inheritable(null, True)
        command += ["--inherit-fd", f"fd[{null}]:{pipe}"]
    return command


def _timed(command: list[str], images: Path, log: str) -> float:
    begun = time.monotonic()
    done = subprocess.run(
        [*command, "-D", str(images), "-o", log], check=False, close_fds=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    passed = time.monotonic() - begun
    if done.returncode != 0:
        raise BenchImpossible(
            f"raw criu failed: {' '.join(command[1:4])}", cause=first_error(images / log)
        )
    return passed


if __name__ == "__main__":
    print(json.dumps(measure(Paths.from_environment(), sys.argv[1])))
