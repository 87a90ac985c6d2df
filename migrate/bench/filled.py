"""When a moved container's memory is complete, watched from outside, in the target's directory."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from migrate.bench.errors import BenchMissed
from migrate.runtime.paths import Paths

EVERY = 0.005  # seconds
LIMIT = 600.0  # seconds
USUAL = Paths(Path("/var/lib/migrate"), Path("/run/migrate"))


class FillWatch:
    """Looks for the mark `filling` of the container on `host`, while it is entered.

    The mark is there from before the thaw until the last page is in place (runtime/filling.py).
    """

    def __init__(self, host: Any) -> None:
        self._root = Path(f"/proc/{host.pid}/root")
        self._over = threading.Event()
        self._gone: float | None = None
        self._thread = threading.Thread(target=self._watch, name="fill-watch", daemon=True)

    def __enter__(self) -> FillWatch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _marks(self) -> list[Path]:
        pattern = USUAL.container("*").filling.relative_to("/")
        return list(self._root.glob(str(pattern)))

    def _watch(self) -> None:
        there = False
        while not self._over.is_set():
            was, there = there, bool(self._marks())
            if was and not there:
                self._gone = time.monotonic()
            self._over.wait(EVERY)

    def wait(self, least: float) -> None:
        """At least so many seconds, and until no memory is missing; raises BenchMissed."""
        time.sleep(least)
        deadline = time.monotonic() + LIMIT
        while self._marks():
            if time.monotonic() > deadline:
                raise BenchMissed("the memory of the load was not filled", cause=f"{LIMIT:g} s")
            time.sleep(EVERY)
        time.sleep(2 * EVERY)  # the thread has seen it, too

    def seconds_after(self, moment: float) -> float | None:
        """From `moment` (monotonic) until the memory was complete; None where none was missing."""
        return None if self._gone is None else max(0.0, self._gone - moment)
