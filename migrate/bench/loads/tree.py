"""tree: processes forked from one, which hold memory together; one of them answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrate.bench.hosts import Site
from migrate.bench.loads.load import IN_CONTAINER, Pinger, remove, start
from migrate.bench.loads.memory import PORT, PagesSession


@dataclass(frozen=True)
class Tree:
    """Memory of all together in MiB, a small part of it shared copy-on-write."""

    mib: int = 512
    processes: int = 50
    rate: int = 500
    """Pages written a second by all together; the one that is seen is that of who answers."""
    kind: str = "random"
    name = "tree"
    unit = "pages/s by one of them"

    def describe(self) -> str:
        """See `Load`."""
        return f"{self.processes} processes, {self.mib} MiB, {self.rate} pages/s"

    @contextmanager
    def started(self, site: Site) -> Iterator[PagesSession]:
        """See `Load`."""
        try:
            start(
                site, "ready", "/usr/bin/python3", "-S", f"{IN_CONTAINER}/tree.py",
                str(self.processes), str(self.mib), str(self.rate), self.kind, str(PORT),
            )  # fmt: skip
            with Pinger(site, PORT, "p") as pinger:
                yield PagesSession(pinger)
        finally:
            remove(site)
