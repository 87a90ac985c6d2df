"""The monitor: small, and asleep as long as nothing happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine import CHECKOUT, Engine, eventually

pytestmark = pytest.mark.root
SIZE_LIMIT = 12 << 10
"""KiB of proportional memory (proc.rst, smaps_rollup)."""
QUIET = 2.0  # seconds


def by_command(engine: Engine, name: str) -> int:
    """A sleeping container, made by the short way of a command of its own; its monitor's pid."""
    code = (
        f"import sys; sys.path[0] = {str(CHECKOUT)!r}; from migrate.cli.entry import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code, "run", "--name", name, "--rootfs", engine.rootfs,
         "sh", "-c", "echo up; exec sleep 1000"],
        env=engine.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    monitor = int(engine.process(name)["monitor"])
    process.kill()
    process.wait()
    process.stdout.close()
    return monitor


def by_agent(engine: Engine, name: str) -> int:
    """The same by a large process, as an agent is one: its monitor is an interpreter of its own."""
    engine.detached("--name", name, "sleep", "1000")
    return int(engine.process(name)["monitor"])


def proportional(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def wakings(pid: int) -> int:
    """How often it has gone to sleep."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("voluntary_ctxt_switches:"))


def sleep_for(seconds: float, monitors: list[int]) -> bool:
    """Whether none of them wakes meanwhile."""
    before = [wakings(pid) for pid in monitors]
    time.sleep(seconds)
    return [wakings(pid) for pid in monitors] == before


def test_it_is_small_and_sleeps(engine: Engine):
    monitors = [by_command(engine, "forked"), by_agent(engine, "spawned")]
    assert engine.ok("exec", "forked", "true") == ""
    assert eventually(lambda: sleep_for(0.3, monitors))  # what starting has left to do is done
    assert sleep_for(QUIET, monitors)
    sizes = [proportional(pid) for pid in monitors]
    assert max(sizes) <= SIZE_LIMIT, sizes
    for name in ("forked", "spawned"):
        engine.ok("rm", "-f", name)
    assert engine.leftovers() == []


def test_it_has_nothing_of_the_command(engine: Engine):
    pid = by_command(engine, "own")
    try:
        assert os.getsid(pid) == pid
        links = {}
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # of the command, and closed by now
                links[path.name] = os.readlink(path)
        assert (links["0"], links["1"]) == ("/dev/null", "/dev/null")
        assert links["2"].endswith("monitor.log")
        others = [link for name, link in links.items() if int(name) > 2]
        kinds = {link.split(":")[0] for link in others}
        assert kinds <= {"pipe", "socket", "anon_inode"} | {
            str(engine.paths.container(engine.status("own")["id"]).log)
        }, links
        assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"migrate.runtime.monitor")
        ignored = int(next(
            line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("SigIgn:")
        ), 16)  # fmt: skip
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            assert ignored >> (number - 1) & 1
    finally:
        engine.ok("rm", "-f", "own")


def test_an_end_in_the_moment_of_asking_is_told(engine: Engine):
    """Who connects before the end gets the status, however soon the program ends."""
    for _ in range(20):
        assert engine.once("sh", "-c", "exit 5").returncode == 5
    assert json.loads(engine.ok("ps", "-a", "--json")) == []
