"""Whether who is at the other end of this process's SSH connection is still there.

The kernel gives a connection up only when it has sent the same bytes for a quarter of an hour
(tcp_retries2), and that connection is sshd's: its limit can't be set from here, but looked at.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

from migrate.kernel.tcpdiag import Connection, repetitions

LOOK_EVERY = 1.0  # seconds, while something is not acknowledged
CUT_AFTER = 12.0
"""Seconds without an acknowledgement of what is sent again and again; the client waits as long."""


class Lifeline:
    """Looked at by who waits; what is sent meanwhile (signs of life) shows whether it arrives."""

    def __init__(self, look: Callable[[], int] | None) -> None:
        """`look`: how often the last bytes were sent again. None: nothing is ever found out."""
        self._look = look
        self._since, self._repeated = 0.0, 0

    @classmethod
    def of_ssh(cls) -> Lifeline:
        """Of the connection that sshd tells of (sshd(8), SSH_CONNECTION)."""
        there, there_port, here, here_port = (
            os.environ.get("SSH_CONNECTION", "").split() + [""] * 4
        )[:4]
        if not (there_port.isdecimal() and here_port.isdecimal()):
            return cls(None)
        connection = Connection(here, int(here_port), there, int(there_port))
        return cls(functools.partial(repetitions, connection))

    @property
    def is_waiting(self) -> bool:
        """Whether at the last look something had been sent more than once."""
        return self._repeated > 0

    def is_cut(self) -> bool:
        """Look; whether nothing has been acknowledged for CUT_AFTER seconds, though it was sent."""
        before, self._repeated = self._repeated, self._count()
        if before == 0 or self._repeated < before:  # the last look was at other bytes
            self._since = time.monotonic()
        return self._repeated > 0 and time.monotonic() - self._since > CUT_AFTER

    def _count(self) -> int:
        if self._look is None:
            return 0
        try:
            return self._look()
        except (OSError, ValueError):
            return 0
