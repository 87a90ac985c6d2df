"""One pause of a host at a time: two at once make each other longer, and gain nothing.

A pause is all work of the processor (CRIU's dump here, its restore there); on two cores ten moves
side by side froze their containers for 0.5 s each where one takes 0.1 s. So each move waits, while
its container still runs, until no other one of this host is frozen; by flock(2), which ends with
its process.
"""

from __future__ import annotations

import fcntl
import os
import time

from migrate.runtime.paths import Paths

LONGEST = 3.0
"""Seconds that one waits for its turn: others may have much to send while they are frozen."""
_POLL = 0.002


class Turn:
    """The right to freeze: `take` it, and `give` it back in any case."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.run / "frozen.lock"
        self._descriptor = -1

    def take(self, longest: float = LONGEST) -> float:
        """Wait for it, but not longer than `longest` seconds; how long it took. Raises OSError."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waited >= longest:
                    return waited
                time.sleep(_POLL)
            else:
                return waited

    def give(self) -> None:
        """Let the next one freeze; safe to repeat, and where it was not taken."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
