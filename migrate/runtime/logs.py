"""The container's log: one line of output a line, in the format that Kubernetes reads.

`<RFC 3339 time> <stdout|stderr> <F|P> <text>`: F ends a line, P is a part of a longer one
(kubernetes, design-proposals, kubelet-cri-logging).
"""

from __future__ import annotations

import errno
import os
import time

PART_LIMIT = 16384
_ENTRY_LIMIT = 2 * PART_LIMIT  # bytes, more than an entry has


def _stamp() -> bytes:
    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return f"{seconds}.{now % 10**9:09d}Z".encode()


class LogFile:
    """The file, and those before it: `path`.1 is the last that was full, `path`.2 the one before.

    With `most` bytes it is full, and `kept` full ones are left; 0 bytes: it grows for ever.
    """

    def __init__(self, path: str, most: int = 0, kept: int = 0) -> None:
        self._path = path
        self._most = most
        self._kept = kept
        self._descriptor = self._opened()

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        _end_with_a_line(descriptor)
        return descriptor

    def append(self, entries: list[bytes]) -> None:
        """Write entries, each whole or not at all; raises OSError when the disk is full."""
        size = os.fstat(self._descriptor).st_size
        batch: list[bytes] = []
        for entry in entries:
            if self._most and size and size + len(entry) > self._most:
                self._write(batch)
                self._turn()
                batch, size = [], 0
            batch.append(entry)
            size += len(entry)
        self._write(batch)

    def _write(self, batch: list[bytes]) -> None:
        data = b"".join(batch)
        size = os.fstat(self._descriptor).st_size
        if data and os.write(self._descriptor, data) != len(data):
            os.ftruncate(self._descriptor, size)
            raise OSError(errno.ENOSPC, "the log's disk is full")

    def _turn(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            if os.path.exists(f"{self._path}.{number}"):
                os.rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        if self._kept:
            os.rename(self._path, f"{self._path}.1")
        else:
            os.unlink(self._path)
        full, self._descriptor = self._descriptor, self._opened()
        os.close(full)


def _end_with_a_line(descriptor: int) -> None:
    """Cut off an entry that was not written to its end: its monitor or host was killed."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _ENTRY_LIMIT, max(0, size - _ENTRY_LIMIT))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)


class LogWriter:
    """Appends what arrives on one stream; a last line without its end waits for more."""

    def __init__(self, file: LogFile, stream: str) -> None:
        self._file = file
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
            self._file.append(out)

    def finish(self) -> None:
        """Write what waits as a part."""
        if self._pending:
            self._file.append([self._entry(self._pending, b"P")])
            self._pending = b""

    def _entry(self, text: bytes, mark: bytes) -> bytes:
        return b" ".join((_stamp(), self._stream, mark, text)) + b"\n"
