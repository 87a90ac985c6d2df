"""numeric: a process that computes and holds next to no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrate.bench.hosts import Site
from migrate.bench.loads.load import IN_CONTAINER, Pinger, remove, start
from migrate.bench.loads.memory import PORT, PagesSession


@dataclass(frozen=True)
class Numeric:
    """Its memory is that of the interpreter."""

    mib: int = 8
    name = "numeric"
    unit = "steps/s"

    def describe(self) -> str:
        """See `Load`."""
        return "a numeric loop"

    @contextmanager
    def started(self, site: Site) -> Iterator[PagesSession]:
        """See `Load`."""
        try:
            start(
                site, "ready", "/usr/bin/python3", "-S", f"{IN_CONTAINER}/numeric.py", str(PORT)
            )  # fmt: skip
            with Pinger(site, PORT, "p") as pinger:
                yield PagesSession(pinger)
        finally:
            remove(site)
