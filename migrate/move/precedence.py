"""Pages that somebody waits for go before the others: these wait while requests come.

Beside a stream each step of an answer waits for a processor, a lock or a socket. A program that has
just been let run asks for page after page, and nothing else is urgent then. Later it may ask all
the time, and the stream has to go on.
"""

from __future__ import annotations

import threading
import time

QUIET = 0.003
"""Seconds without a request, after which nobody seems to wait."""
AT_FIRST = 0.15
"""Seconds for which the stream may be held up without a break."""
SHARE = 0.1
"""Of the time, for which it may be held up in the long run."""


class Precedence:
    """For one thread that answers, and several that stream."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0.0
        self._credit = AT_FIRST  # seconds
        self._settled = time.monotonic()

    def asked(self) -> None:
        """Somebody waits for a page."""
        self._asked = time.monotonic()

    def give_way(self) -> None:
        """Return when nobody has asked for a while, or has held up the stream for long enough."""
        with self._lock:
            begun = now = time.monotonic()
            credit = min(self._credit + SHARE * (begun - self._settled), AT_FIRST)
            while (left := min(self._asked + QUIET, begun + credit) - now) > 0:
                time.sleep(left)
                now = time.monotonic()
            self._credit, self._settled = credit - (now - begun), now
