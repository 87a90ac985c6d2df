"""Who is attached to a container: its output goes to all of them, and their input to it.

A packet (SOCK_SEQPACKET) begins with a letter. To those who are attached: `1` output (of a terminal
all of it), `2` error output. From them: `i` input, `e` the end of the input, `s` a struct winsize.

Nobody waits for who does not read: the container's output waits for the slowest, so that nothing is
lost, and who takes nothing for `PATIENCE` seconds is attached no longer.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

from migrate.kernel.bare import contextlib, socket
from migrate.runtime.watched import READ, WRITE

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable

    from migrate.runtime.watched import Watch

OUTPUT, ERRORS, INPUT, END, SIZE = b"1", b"2", b"i", b"e", b"s"
PART = 32768  # bytes of a packet, its letter apart
PATIENCE = 10.0
_LAST_WORDS = 2.0  # seconds for what is left at the container's end
_CTRL_D = b"\x04"
_TIOCSWINSZ = 0x5414  # include/uapi/asm-generic/ioctls.h
_WINSIZE = struct.Struct("HHHH")  # struct winsize, ioctl_tty(2)


class _Client:
    """One who is attached, and the packets that wait for it since `since`."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting: list[bytes] = []
        self.since = 0.0


class Attachments:
    """All of them, and the container's input: `sink` is its pipe or terminal, -1 for none."""

    def __init__(self, watch: Watch, hold: Callable[[bool], None], *, terminal: bool) -> None:
        """`hold(True)` stops the reading of output, `hold(False)` lets it go on."""
        self.sink = -1
        self._watch = watch
        self._hold = hold
        self._terminal = terminal
        self._clients: list[_Client] = []
        self._backlog = b""
        self._full = False
        self._ends = False

    def add(self, connection: socket.socket, size: list[int]) -> None:
        """Attach a connection; `size`: rows and columns of its window, or nothing."""
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.append(client)
        self._watch.add(connection, self._on_client, client, self._events(client))
        if size:
            rows, columns = int(size[0]), int(size[1])
            # Twice: a program draws itself anew where the size is another than before (SIGWINCH).
            for width in (max(columns - 1, 1), columns):
                self._resize(_WINSIZE.pack(rows, width, 0, 0))

    def show(self, letter: bytes, data: bytes) -> None:
        """Output of the container, to all of them."""
        for begin in range(0, len(data), PART):
            packet = letter + data[begin : begin + PART]
            for client in list(self._clients):
                client.since = client.since or time.monotonic()
                client.waiting.append(packet)
                self._flush(client)

    def limit(self) -> int | None:
        """Milliseconds until somebody's patience ends; None where nobody's is tried."""
        begun = [client.since for client in self._clients if client.waiting]
        if not begun:
            return None
        return max(0, int((min(begun) + PATIENCE - time.monotonic()) * 1000) + 1)

    def drop_stuck(self) -> None:
        """End the attachment of whoever has taken nothing for so long."""
        for client in list(self._clients):
            if client.waiting and time.monotonic() - client.since > PATIENCE:
                self._drop(client)

    def finish(self) -> None:
        """The container has ended: tell them the rest, and hang up."""
        deadline = time.monotonic() + _LAST_WORDS
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                for packet in client.waiting:
                    client.connection.settimeout(max(0.01, deadline - time.monotonic()))
                    client.connection.send(packet)
            client.waiting = []
            self._drop(client)

    def _events(self, client: _Client) -> int:
        return (0 if self._full else READ) | (WRITE if client.waiting else 0)

    def _flush(self, client: _Client) -> None:
        """Send what waits, as much as is taken; a change of that may stop or free the output."""
        before = bool(client.waiting)
        try:
            while client.waiting:
                client.connection.send(client.waiting[0])
                client.waiting.pop(0)
                client.since = time.monotonic() if client.waiting else 0.0
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if client.waiting or before:
            self._watch.change(client.connection, self._events(client))
            self._hold(any(each.waiting for each in self._clients))

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._watch.drop(client.connection)
        client.connection.close()
        self._hold(any(each.waiting for each in self._clients))

    def _on_client(self, connection: socket.socket, client: _Client) -> None:
        self._flush(client)
        if client not in self._clients or self._full:
            return
        try:
            packet = connection.recv(PART + 1)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._drop(client)
        elif packet[:1] == INPUT:
            self.type(packet[1:])
        elif packet[:1] == END:
            self._ends = not self._terminal
            self.type(_CTRL_D if self._terminal else b"")
        elif packet[:1] == SIZE:
            self._resize(packet[1:])

    def _resize(self, size: bytes) -> None:
        if self._terminal and self.sink >= 0 and len(size) == _WINSIZE.size:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.sink, _TIOCSWINSZ, size)

    def type(self, data: bytes) -> None:
        """To the container's input, if it has any."""
        if self.sink >= 0:
            self._backlog += data
            self._feed()

    def _feed(self, *_ready: object) -> None:
        """Give the container what has been typed; while it does not take it, nobody is read."""
        try:
            while self._backlog:
                self._backlog = self._backlog[os.write(self.sink, self._backlog) :]
        except BlockingIOError:
            pass
        except OSError:  # it has closed its input
            self._backlog = b""
            self._ends = not self._terminal
        if bool(self._backlog) != self._full:
            self._full = not self._full
            if self._full:
                self._watch.add(self.sink, self._feed, None, WRITE)
            else:
                self._watch.drop(self.sink)
            for client in self._clients:
                self._watch.change(client.connection, self._events(client))
        if self._ends and not self._full:
            self.close_input()

    def unread(self) -> bytes:
        """What was typed and the container has not read; all stays. For one that is frozen."""
        found = []
        if self.sink >= 0 and not self._terminal:
            reader = os.open(f"/proc/self/fd/{self.sink}", os.O_RDONLY | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while data := os.read(reader, PART):
                    found.append(data)
            os.close(reader)
            for data in found:  # it has room: whole pages take no more than they did
                os.write(self.sink, data)
        return b"".join(found) + self._backlog

    def close_input(self) -> None:
        """The container reads the end of its input."""
        if self.sink >= 0 and not self._terminal:
            os.close(self.sink)
            self.sink = -1
