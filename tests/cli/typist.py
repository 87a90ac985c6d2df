"""Somebody at a terminal of their own, at which a command of `migrate` runs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from typing import Any

from tests.engine import Engine


class Typist:
    """Types and looks; the terminal has 33 rows and 77 columns."""

    def __init__(self, engine: Engine, *words: str, rows: int = 33, columns: int = 77) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(slave)
        self._slave = slave
        self._shown = b""
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        self.process = engine.start(
            *words, **streams, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def sees(self, text: str, limit: float = 60.0) -> str:
        """All that was shown up to `text`, which has to come."""
        wanted, deadline = text.encode(), time.monotonic() + limit
        while wanted not in self._shown:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.master], [], [], left)
            assert ready, (text, self._shown)
            self._shown += os.read(self.master, 65536)
        before, _, self._shown = self._shown.partition(wanted)
        return before.decode() + text

    def ends(self, limit: float = 60.0) -> int:
        """Its exit status; its terminal is as it was before."""
        status = self.process.wait(limit)
        assert termios.tcgetattr(self._slave) == self.settings
        os.close(self._slave)
        os.close(self.master)
        return status
