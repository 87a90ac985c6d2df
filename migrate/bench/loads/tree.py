"""tree: processes forked from one, which hold memory together; one of them answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrate.bench.building import build
from migrate.bench.hosts import Site
from migrate.bench.loads.load import IN_CONTAINER, Pinger, remove, start
from migrate.bench.loads.memory import PORT, PagesSession
from migrate.bench.watching import PROGRAMS


@dataclass(frozen=True)
class Tree:
    """Memory of all together in MiB, a small part of it shared copy-on-write."""

    mib: int = 512
    processes: int = 50
    rate: int = 500
    """Pages written a second by all together; the one that is seen is that of who answers."""
    kind: str = "random"
    interpreted: bool = False
    """Whether each of them is a Python, which writes some fifty pages whenever it wakes."""
    name = "tree"
    unit = "pages/s by one of them"

    def describe(self) -> str:
        """See `Load`."""
        what = "processes of Python" if self.interpreted else "processes"
        return f"{self.processes} {what}, {self.mib} MiB, {self.rate} pages/s"

    @contextmanager
    def started(self, site: Site) -> Iterator[PagesSession]:
        """See `Load`."""
        directory = site.shared / "tree"
        if self.interpreted:
            program = ["/usr/bin/python3", "-S", f"{IN_CONTAINER}/tree.py"]
        else:
            directory.mkdir(exist_ok=True)
            program = [f"/programs/{build(PROGRAMS / 'tree.c', directory).name}"]
        words = [str(self.processes), str(self.mib), str(self.rate), self.kind, str(PORT)]
        volumes = () if self.interpreted else (f"{directory}:/programs:ro",)
        try:
            start(site, "ready", *program, *words, volumes=volumes)
            with Pinger(site, PORT, "p") as pinger:
                yield PagesSession(pinger)
        finally:
            remove(site)
