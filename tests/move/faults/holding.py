"""A process of a move held at a named point (migrate/move/faultpoint.py), found by its words."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from migrate.move.faultpoint import FILE
from tests.hosts import Host
from tests.hosts.redis import MIGRATE

LIMIT = 60.0  # seconds, of which a busy machine needs many


def processes(host: Host, *words: str) -> list[int]:
    """Pids, as this machine sees them, of the host's processes whose command line has all words."""
    namespace = Path(f"/proc/{host.pid}/ns/pid").readlink()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (path / "ns/pid").readlink() == namespace and all(w in line for w in words):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def stopped(pids: list[int]) -> list[int]:
    """Those that are held by SIGSTOP."""
    held = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                held.append(pid)
        except OSError:
            continue
    return held


def arm(host: Host, point: str) -> None:
    """The next process of the host that reaches the point is held there."""
    host.run(["sh", "-c", f"mkdir -p /run/migrate && echo {point} > /run/migrate/{FILE}"])


def disarm(host: Host) -> None:
    """Nobody is held any more."""
    host.run(["rm", "-f", f"/run/migrate/{FILE}"])


def wait_until_held(host: Host, word: str, command: subprocess.Popen[Any]) -> int:
    """The pid of the process of `host` that has reached the armed point."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        held = stopped(processes(host, "migrate", word))
        if held:
            return held[0]
        assert command.poll() is None, "the move ended before the point"
        time.sleep(0.01)
    raise AssertionError("the point was never reached")


def held_move(
    source: Host, target: Host, name: str, point: str, *options: str, there: bool = False
) -> tuple[subprocess.Popen[str], int]:
    """A move that is held at the point, of the source or of the agent `there`.

    The command, with its output and its complaints in pipes, and the pid that is held.
    """
    holder, word = (target, "agent") if there else (source, "move")
    arm(holder, point)
    command: subprocess.Popen[str] = source.popen(
        [MIGRATE, "move", *options, name, target.ssh_target],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    return command, wait_until_held(holder, word, command)


def kill(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Those that have ended meanwhile are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
