"""The container's log: one line of output a line, in the format that Kubernetes reads.

`<RFC 3339 time> <stdout|stderr> <F|P> <text>`: F ends a line, P is a part of a longer one
(kubernetes, design-proposals, kubelet-cri-logging).
"""

from __future__ import annotations

import os
import time

PART_LIMIT = 16384


def _stamp() -> bytes:
    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return f"{seconds}.{now % 10**9:09d}Z".encode()


class LogWriter:
    """Appends what arrives on one stream; a last line without its end waits for more."""

    def __init__(self, descriptor: int, stream: str) -> None:
        self._descriptor = descriptor
        self._stream = stream.encode()
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Append all whole lines; raises OSError when the disk is full."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        out = [self._entry(line, b"F") for line in lines]
        while len(self._pending) > PART_LIMIT:
            out.append(self._entry(self._pending[:PART_LIMIT], b"P"))
            self._pending = self._pending[PART_LIMIT:]
        if out:
            os.write(self._descriptor, b"".join(out))

    def finish(self) -> None:
        """Write what waits as a part."""
        if self._pending:
            os.write(self._descriptor, self._entry(self._pending, b"P"))
            self._pending = b""

    def _entry(self, text: bytes, mark: bytes) -> bytes:
        return b" ".join((_stamp(), self._stream, mark, text)) + b"\n"
