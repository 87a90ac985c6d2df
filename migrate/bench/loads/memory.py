"""memory: one process that holds memory of a known content and writes random pages of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrate.bench.hosts import Site
from migrate.bench.loads.load import IN_CONTAINER, Pinger, Samples, Seen, remove, start

PORT = 7000
MADE_UP = 0.1
"""Seconds of a pause whose writes come after it (workloads/memory.py)."""


@dataclass(frozen=True)
class Memory:
    """Memory in MiB, random pages written a second, and what they hold: random, text or zero."""

    mib: int
    rate: int = 1000
    kind: str = "random"
    working: int = 0
    """MiB in which pages are written; 0 for all."""
    name = "memory"
    unit = "pages/s"

    def describe(self) -> str:
        """See `Load`."""
        size = f"{self.mib >> 10} GiB" if not self.mib % 1024 else f"{self.mib} MiB"
        words = f"{size}, {self.kind}, {f'{self.rate} pages/s' if self.rate else 'idle'}"
        return f"{words} in {self.working} MiB" if self.working else words

    @contextmanager
    def started(self, site: Site) -> Iterator[PagesSession]:
        """See `Load`."""
        program = f"{IN_CONTAINER}/memory.py"
        try:
            start(
                site, "ready", "/usr/bin/python3", "-S", program, str(self.mib), str(self.rate),
                self.kind, str(PORT), str(self.working),
            )  # fmt: skip
            with Pinger(site, PORT, "p") as pinger:
                yield PagesSession(pinger)
        finally:
            remove(site)


class PagesSession:
    """A program that speaks as `workloads/memory.py` does."""

    def __init__(self, pinger: Pinger) -> None:
        self._pinger = pinger
        self._begun = 0.0

    def begin(self) -> None:
        """See `Session`."""
        self._pinger.ask("r")
        self._pinger.mark()
        self._begun = time.monotonic()

    def end(self, until: float) -> Seen:
        """See `Session`; the rate is that of the time outside the gap, but what is made up for."""
        seen = self._pinger.mark()
        awake = time.monotonic() - self._begun - max(0.0, seen["gap"] - MADE_UP)
        longest, written = (int(word) for word in self._pinger.ask("r").split())
        return Seen(seen["gap"], longest / 1e6, written / max(awake, 1e-3))

    def latency(self) -> Samples:
        """See `Session`."""
        return self._pinger.latency()

    def wrong(self) -> int:
        """Pages."""
        return int(self._pinger.ask("v"))
