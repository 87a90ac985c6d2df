"""A Redis in a container of a test host, and a client that writes and reads over one connection."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts.host import Host
from tests.hosts.rootfs import make_rootfs

REDIS = "/usr/bin/redis-server"
PORT = 6379
MIGRATE = str(Path(sys.prefix) / "bin" / "migrate")


def make_image(shared: Path, host: Host) -> None:
    """Import an image `redis` on `host`, made of this machine's redis-server."""
    archive = shared / "redis.tar"
    if not archive.exists():
        directory = make_rootfs(shared / "redis-rootfs", [REDIS])
        subprocess.run(["tar", "-C", directory, "-cf", archive, "."], check=True)
    host.run([MIGRATE, "image", "import", str(archive), "redis"])


def start(host: Host, name: str, address: str, *options: str) -> None:
    """Run Redis on `host` at `address` of the hosts' own network."""
    start_in(host, name, (*on_the_link(address), *options))


def on_the_link(address: str) -> tuple[str, ...]:
    """Options of `run`: a port of the bridge that all hosts have."""
    return ("--network", "bridge", "--bridge", "br-lan", "--ip", f"{address}/24")


def start_in(host: Host, name: str, options: Sequence[str]) -> None:
    """Run Redis on `host`; `options` name its network."""
    host.run(
        [MIGRATE, "run", "-d", "--name", name, *options, "redis", "/usr/bin/redis-server",
         "--port", str(PORT), "--protected-mode", "no", "--save", "", "--dir", "/data",
         "--daemonize", "no"]
    )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What the client saw; times in seconds, on this machine's monotonic clock."""

    written: int
    found: int
    reconnects: int
    longest_gap: float
    gap_begun: float
    errors: tuple[str, ...]


class Client:
    """`python -m tests.hosts.redisclient` in the position of `machine`, until `finish`."""

    def __init__(
        self, machine: Any, address: str, python: str = sys.executable, program: str = ""
    ) -> None:
        """`machine`: whatever has `popen`; python and program are paths there."""
        program = program or str(Path(__file__).with_name("redisclient.py"))
        self._process: subprocess.Popen[str] = machine.popen(
            [python, "-I", "-S", program, address, str(PORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        first = self._process.stdout.readline()
        if "connected" not in first:
            raise RuntimeError(f"the client could not connect: {first}")

    def mark(self) -> Report:
        """The report so far; gaps are counted anew from here on."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("mark\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Report(**{**told, "errors": tuple(told["errors"])})

    def finish(self) -> Report:
        """Stop writing, read every key back over the same connection, and report."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        told = json.loads(self._process.stdout.readline())
        self._process.wait(30)
        return Report(**{**told, "errors": tuple(told["errors"])})

    def kill(self) -> None:
        """End it without a report."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def wait_for(machine: Any, address: str, limit: float = 40.0, python: str = sys.executable) -> None:
    """Until somebody listens there."""
    probe = (
        f"import socket,sys,time\nend=time.monotonic()+{limit}\n"
        f"while True:\n try:\n  socket.create_connection(('{address}',{PORT}),1).close(); break\n"
        " except OSError:\n  time.sleep(.05)\n  if time.monotonic()>end: sys.exit(1)\n"
    )
    machine.run([python, "-I", "-S", "-c", probe])
    time.sleep(0.05)
