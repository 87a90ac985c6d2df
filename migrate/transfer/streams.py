"""Byte streams with time limits: the few calls that sockets and paramiko channels share."""

from __future__ import annotations

import os
import select
import time
from typing import Protocol


class ByteStream(Protocol):
    """A socket, a paramiko Channel or a PipeStream. Time limits raise TimeoutError."""

    def recv(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Write all of it."""

    def settimeout(self, seconds: float | None, /) -> None:
        """The limit of each call from now on; None for none."""

    def close(self) -> None:
        """End both directions."""


class PipeStream:
    """A ByteStream over two descriptors, which it owns from now on."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._timeout: float | None = None
        self._closed = False
        os.set_blocking(write_fd, False)

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end; TimeoutError."""
        self._wait(self._read_fd, select.POLLIN, self._deadline())
        return os.read(self._read_fd, size)

    def sendall(self, data: bytes) -> None:
        """Write all of it; TimeoutError, after which the stream is of no use."""
        deadline = self._deadline()
        view = memoryview(data)
        while view:
            self._wait(self._write_fd, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._write_fd, view) :]
            except BlockingIOError:
                continue

    def settimeout(self, seconds: float | None) -> None:
        """The limit of each call from now on; None for none."""
        self._timeout = seconds

    def close(self) -> None:
        """End both directions."""
        if not self._closed:
            self._closed = True
            for descriptor in {self._read_fd, self._write_fd}:
                os.close(descriptor)

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    @staticmethod
    def _wait(descriptor: int, events: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, events)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left):
            raise TimeoutError("the other side did not answer in time")
