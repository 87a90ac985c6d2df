"""holding: a process with many open files, or with many connections that a client holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from migrate.bench.errors import BenchMissed
from migrate.bench.hosts import Site
from migrate.bench.loads.load import (
    ADDRESS,
    IN_CONTAINER,
    Pinger,
    remove,
    start,
)
from migrate.bench.loads.memory import PORT, PagesSession
from migrate.bench.watching import Watching


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


class Connections(Watching):
    """`workloads/holding.py hold` at the client; a context manager."""

    def __init__(self, site: Site, count: int) -> None:
        self._count = count
        super().__init__(
            site.client, "holding.py", "hold", ADDRESS, str(PORT + 1), str(count),
            lost="the client lost its connections",
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.expect("connected")
        return self

    def wrong(self) -> int:
        """How many of them do not work any more."""
        try:
            return int(self.order("check")["wrong"])
        except BenchMissed:
            return self._count


class HoldingSession(PagesSession):
    """Memory, files and connections."""

    def __init__(self, pinger: Pinger, connections: Connections) -> None:
        super().__init__(pinger)
        self._connections = connections

    def wrong(self) -> int:
        """Pages, files and connections."""
        return super().wrong() + self._connections.wrong()
