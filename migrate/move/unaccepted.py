"""Freezing at a moment at which no TCP connection waits to be accepted.

A connection that is being made, or that waits in a listener's backlog, has no descriptor: CRIU
leaves it out (tcp-skip-in-flight), and its client, which may have sent something already, would be
answered with a reset by the copy. And what is left in its UDP sockets, which CRIU leaves out, too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from migrate.checkpoint import freezing
from migrate.checkpoint.netns.contents import INSIDE
from migrate.kernel import datagrams
from migrate.kernel.netlinkwire import Channel
from migrate.kernel.syngate import SOCK_DIAG, Gate, unaccepted
from migrate.move.progress import Phases
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record

LIMIT = 0.25  # seconds: then the move goes on without those
_LOOK_EVERY = 0.0005  # seconds
_ATTEMPTS = 20  # freezes


class Doorkeeper:
    """Of one container at the source of its move."""

    def __init__(self, netns: Path) -> None:
        """`netns`: the container's own. Raises OSError."""
        self._netns = netns
        self._channel = Channel(netns, SOCK_DIAG)
        self._gate: Gate | None = None

    def freeze(self, paths: Paths, record: Record, frozen: Phases) -> int:
        """As `freezing.freeze`; how many connections are left that nobody has accepted.

        The phase that `frozen` is in is left while the container runs once more.
        """
        deadline = 0.0
        for _ in range(_ATTEMPTS):
            freezing.freeze(paths, record)
            waiting = self._waiting()
            deadline = deadline or time.monotonic() + LIMIT
            if not waiting or time.monotonic() > deadline:
                return waiting
            freezing.thaw(paths, record)
            frozen.leave()
            self._close()
            while self._waiting() and time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY)
            frozen.enter("freeze")
        freezing.freeze(paths, record)
        return self._waiting()

    def _waiting(self) -> int:
        with contextlib.suppress(OSError):  # a kernel without tcp_diag
            return unaccepted(self._channel)
        return 0

    def _close(self) -> None:
        """Without a gate, new connections can keep coming; the limit holds all the same."""
        if self._gate is None:
            with contextlib.suppress(OSError):
                self._gate = Gate(self._netns, INSIDE)

    def frames(self) -> list[bytes]:
        """Who wanted to connect meanwhile."""
        return self._gate.frames() if self._gate else []

    def unread(self, pids: Iterable[int], mac: str) -> list[bytes]:
        """What its UDP sockets have not read, as frames to the interface with that MAC."""
        found: list[bytes] = []
        with contextlib.suppress(OSError):  # a kernel without udp_diag
            if inodes := datagrams.sockets_with_unread(self._channel):
                to = bytes.fromhex(mac.replace(":", ""))
                for number, each in enumerate(datagrams.unread(pids, inodes), 1):
                    found += datagrams.frames(each, to, number)
        return found

    def open(self) -> None:
        """The container stays here: it takes connections again."""
        if self._gate:
            gate, self._gate = self._gate, None
            with contextlib.suppress(OSError):
                gate.open()

    def close(self) -> None:
        """Give up what is held."""
        self._channel.close()
        if self._gate:
            self._gate.close()
