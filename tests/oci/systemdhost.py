"""A real systemd as pid 1 of a test host's namespaces, and `migrate-oci` beside it.

It starts one target of ours and nothing else of this machine's; no bus: its private socket is
enough for systemctl and for us.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.oci.runtime import COMMAND
from tests.rootfs import busybox_rootfs

PROGRAM = Path("/usr/lib/systemd/systemd")
_START = """
mkdir -p /run/systemd/system
cat > /run/systemd/system/quiet.target <<END
[Unit]
Description=Nothing but systemd
DefaultDependencies=no
END
exec unshare --pid --fork --kill-child --mount --mount-proc --cgroup sh -c '
  for place in $(grep " cgroup2 " /proc/mounts | cut -d " " -f 2); do
    umount $place && mount -t cgroup2 cgroup2 $place  # its root is where systemd begins
  done
  exec env container=migrate-test {program} --unit=quiet.target --log-target=null'
"""


class SystemdHost:
    """`host` with a systemd in it; ends with the host. It sees the directory `shared`."""

    def __init__(self, host: Host, shared: Path) -> None:
        self.shared = shared
        self._outer = host.popen(
            ["sh", "-c", _START.format(program=PROGRAM)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.pid = 0
        assert eventually(self._is_up, 60.0), "systemd did not start"

    def _is_up(self) -> bool:
        try:
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
            self.pid = int(children.split()[0])
            exe = os.readlink(f"/proc/{self.pid}/exe")
        except (OSError, IndexError):
            return False
        return (
            exe == str(PROGRAM) and self.call("systemctl", "show", "-P", "Version").returncode == 0
        )

    def call(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command in systemd's namespaces, as a session of its own would be."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "--", *map(str, words)], text=True, check=False,
            capture_output=True, timeout=60, **options,
        )  # fmt: skip

    def ok(self, *words: str | Path, **options: Any) -> str:
        """Its output; it must succeed."""
        done = self.call(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.strip()

    def oci(self, *words: str | Path, **options: Any) -> str:
        """`migrate-oci --systemd-cgroup`; it must succeed."""
        return self.ok(COMMAND, "--root", "/run/oci", "--systemd-cgroup", *words, **options)

    def running(self, identifier: str, bundle: Path) -> None:
        """Run a container that stays."""
        command = [COMMAND, "--root", "/run/oci", "--systemd-cgroup", "run", "-d", "-b", bundle]
        words = ["nsenter", "-t", str(self.pid), "-a", "--", *command, identifier]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False, timeout=60)
        assert done.returncode == 0

    def refused(self, *words: str | Path) -> str:
        """Its error; it must fail."""
        done = self.call(COMMAND, "--root", "/run/oci", "--systemd-cgroup", *words)
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        return done.stderr

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.ok("systemctl", "show", "-P", name, unit)

    def pid_of(self, identifier: str) -> int:
        """The container's first process, as this namespace numbers it."""
        return int(json.loads(self.oci("state", identifier))["pid"])

    def groups(self, pid: int) -> dict[str, str]:
        """Path by controller of a process there ("" for version 2)."""
        rows = (line.split(":", 2) for line in self.ok("cat", f"/proc/{pid}/cgroup").splitlines())
        return {name: path for _number, names, path in rows for name in names.split(",")}


@contextlib.contextmanager
def booted() -> Iterator[SystemdHost]:
    """A host with busybox's root file system; the test is skipped where there is no systemd."""
    if not PROGRAM.exists():
        pytest.skip("there is no systemd on this machine")
    with Lan() as lan:
        busybox_rootfs(lan.shared / "busybox")
        yield SystemdHost(lan.host("alpha"), lan.shared)
