"""The command `migrate` on state directories of its own, and a look at what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from migrate.cli import execute, foreground, lifecycle, run, show  # noqa: F401 -- loaded once
from migrate.cli.main import main
from migrate.kernel.mountinfo import read_mountinfo
from migrate.runtime.cgroups.layout import detect
from migrate.runtime.networks.device import port_of
from migrate.runtime.paths import Paths
from tests.forked import forked

CHECKOUT = Path(__file__).resolve().parents[1]


class Engine:
    """One host's worth of state below `directory`; containers run on `rootfs`."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory = directory
        self.rootfs = rootfs
        self.paths = Paths(directory / "state", directory / "run")
        self.environment = os.environ | {
            "MIGRATE_STATE": str(self.paths.state), "MIGRATE_RUN": str(self.paths.run),
            "PYTHONPATH": str(CHECKOUT),
        }  # fmt: skip
        self.identifiers: set[str] = set()

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """The command as a process, its streams piped."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": CHECKOUT} | options
        words = ["migrate", *map(str, arguments)]
        return forked(main, words, environment=self.environment, **options)

    def call(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """The command's output and exit status."""
        process = self.start(*arguments, **options)
        out, error = process.communicate(timeout=200)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    def ok(self, *arguments: str | Path) -> str:
        """The command's output; it must succeed."""
        done = self.call(*arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def fails(self, *arguments: str | Path, code: int) -> str:
        """The command's error text; it must fail with `code`."""
        done = self.call(*arguments)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stderr

    def once(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`run --rm` in the foreground; options and program in `words`."""
        return self.call("run", "--rm", "--rootfs", self.rootfs, *words, **options)

    def detached(self, *words: str) -> str:
        """`run -d`; the container's id."""
        identifier = self.ok("run", "-d", "--rootfs", self.rootfs, *words)
        self.identifiers.add(identifier)
        return identifier

    def process(self, name: str) -> dict[str, Any]:
        """The identity of init and monitor."""
        found: dict[str, Any] = json.loads(self.ok("inspect", name))["process"]
        return found

    def status(self, name: str) -> dict[str, Any]:
        """Its entry in `ps -a --json`."""
        listed = json.loads(self.ok("ps", "-a", "--json"))
        return next(entry for entry in listed if name in {entry["name"], entry["id"]})

    def clear(self) -> None:
        """Remove every container."""
        names = self.ok("ps", "-aq").split()
        self.identifiers.update(names)
        if names:
            done = self.call("rm", "-f", *names)  # one of --rm may go by itself meanwhile
            assert self.ok("ps", "-aq") == "", (done.stdout, done.stderr)

    def leftovers(self) -> list[str]:
        """What there still is of containers: mounts, directories, cgroups, links, processes."""
        place = str(self.directory)
        found = [m.mount_point for m in read_mountinfo() if m.mount_point.startswith(place)]
        for directory in (self.paths.state / "containers", self.paths.run / "containers",
                          self.paths.run / "netns", self.paths.run / "userns",
                          self.paths.run / "binds", self.paths.images / "pins"):  # fmt: skip
            found += [str(p) for p in directory.glob("*") if p.name != ".registration.lock"]
        for identifier in self.identifiers:
            groups = (root / "migrate" / identifier for root in detect().roots)
            found += [str(group) for group in groups if group.exists()]
            if Path(f"/sys/class/net/{port_of(identifier)}").exists():
                found.append(port_of(identifier))
        return found + self._processes()

    def _processes(self) -> list[str]:
        mark = f"MIGRATE_RUN={self.paths.run}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
            except OSError:
                continue
        return found


def eventually(condition: Any, limit: float = 20.0) -> bool:
    """Whether it comes true within `limit` seconds, which are many: machines are busy."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
