"""holding: a process with many open files, or with many connections that a client holds."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.hosts import Site
from migrate.bench.loads.load import (
    ADDRESS,
    IN_CONTAINER,
    PROGRAMS,
    Pinger,
    remove,
    start,
)
from migrate.bench.loads.memory import PORT, PagesSession


@dataclass(frozen=True)
class Holding:
    """Open files, TCP connections, memory in MiB and pages of it written a second."""

    files: int = 0
    connections: int = 0
    mib: int = 16
    rate: int = 100
    name = "holding"
    unit = "pages/s"

    def describe(self) -> str:
        """See `Load`."""
        return f"{self.files} open files, {self.connections} connections, {self.mib} MiB"

    @contextmanager
    def started(self, site: Site) -> Iterator[HoldingSession]:
        """See `Load`."""
        try:
            start(
                site, "ready", "/usr/bin/python3", "-S", f"{IN_CONTAINER}/holding.py", "serve",
                str(self.mib), str(self.rate), str(self.files), str(PORT),
            )  # fmt: skip
            with (
                Pinger(site, PORT, "p") as pinger,
                Connections(site, self.connections) as connections,
            ):
                yield HoldingSession(pinger, connections)
        finally:
            remove(site)


class Connections:
    """`workloads/holding.py hold` at the client; a context manager."""

    def __init__(self, site: Site, count: int) -> None:
        self._count = count
        self._process: Any = site.client.popen(
            [sys.executable, "-I", "-S", str(PROGRAMS / "holding.py"), "hold", ADDRESS,
             str(PORT + 1), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Connections:
        if self._process.stdout.readline().strip() != "connected":
            self.__exit__()
            raise BenchImpossible(f"{self._count} connections to the load can't be opened")
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def wrong(self) -> int:
        """How many of them do not work any more."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("check\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        return int(json.loads(line)["wrong"]) if line else self._count


class HoldingSession(PagesSession):
    """Memory, files and connections."""

    def __init__(self, pinger: Pinger, connections: Connections) -> None:
        super().__init__(pinger)
        self._connections = connections

    def wrong(self) -> int:
        """Pages, files and connections."""
        return super().wrong() + self._connections.wrong()
