"""Traffic over TCP connections that are never made anew, in each direction and on idle ones.

`traffic.py serve PORT`, in the container: a connection's first line says what it is for; "push" has
it send a line every EVERY seconds from then on, any other is echoed, and all that follow.
`traffic.py ask ADDRESS PORT` is the client. It keeps three kinds of connections at once:
"to" asks again EVERY seconds after it was answered, "from" is sent lines by the container, and of
the IDLE "idle" ones, one is asked at a time, every IDLE_EVERY seconds in turn, whether the others
were answered or not: each is silent for IDLE times that before. A line "mark" on stdin has it print
`{"to", "from", "idle"}`, JSON: of each the longest time without progress since the last mark,
in seconds (of the idle ones the longest wait for an answer), and "answers", the number of them.
A connection that ends is an error, and so is a line that is not the one that was to come.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import threading
import time

EVERY = 0.001  # seconds
IDLE, IDLE_EVERY = 100, 0.01
PATIENCE = 120.0  # seconds
_Lines = dict[socket.socket, bytes]


def serve(port: int) -> None:
    """Serve for ever, each connection by a thread."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(
        ("", port), backlog=256, family=family, dualstack_ipv6=both
    ) as listener:
        print("ready", flush=True)
        while True:
            channel, _ = listener.accept()
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve_one, args=(channel,), daemon=True).start()


def _serve_one(channel: socket.socket) -> None:
    with channel, channel.makefile("rb") as lines:
        first = lines.readline()
        number = 0
        while first == b"push\n":
            channel.sendall(b"%d\n" % number)
            number += 1
            time.sleep(EVERY)
        line = first
        while line:
            channel.sendall(line)
            line = lines.readline()


class Client:
    """The three kinds, watched by one loop."""

    def __init__(self, address: str, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._buffers: _Lines = {}
        self._where = (address, port)
        self._to, self._from = self._connect(), self._connect()
        self._idle = [self._connect() for _ in range(IDLE)]
        self._asked: dict[socket.socket, float] = {}
        self._number = {self._to: 0, self._from: 0} | dict.fromkeys(self._idle, 0)
        self._longest = {"to": 0.0, "from": 0.0, "idle": 0.0}
        self._last = {"to": time.monotonic(), "from": time.monotonic()}
        self._turn = self._answers = 0
        self._ask_at = 0.0

    def _connect(self) -> socket.socket:
        channel = socket.create_connection(self._where, 10)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel.setblocking(False)
        self._selector.register(channel, selectors.EVENT_READ)
        self._buffers[channel] = b""
        return channel

    def run(self) -> None:
        """Until stdin ends; raises ConnectionError, ValueError."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._from.send(b"push\n")
        self._ask(self._to)
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + IDLE_EVERY
                self._ask_idle()
            if self._ask_at and now >= self._ask_at:
                self._ask_at = 0.0
                self._ask(self._to)
            wait = min(due, self._ask_at or due) - now
            for key, _ in self._selector.select(max(0.0, wait)):
                if key.fileobj is not sys.stdin:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)
                elif not self._order():
                    return
            if now - min(self._last.values()) > PATIENCE:
                raise ConnectionError(f"no progress for {PATIENCE:g} s")

    def _order(self) -> bool:
        if not sys.stdin.readline():
            return False
        now = time.monotonic()
        for kind, last in self._last.items():  # a silence that goes on counts, too
            self._longest[kind] = max(self._longest[kind], now - last)
        for since in self._asked.values():
            self._longest["idle"] = max(self._longest["idle"], now - since)
        print(json.dumps(self._longest | {"answers": self._answers}), flush=True)
        self._longest = dict.fromkeys(self._longest, 0.0)
        return True

    def _ask(self, channel: socket.socket) -> None:
        channel.send(b"%d\n" % self._number[channel])

    def _ask_idle(self) -> None:
        channel = self._idle[self._turn % IDLE]
        self._turn += 1
        if channel not in self._asked:
            self._asked[channel] = time.monotonic()
            self._ask(channel)

    def _read(self, channel: socket.socket) -> None:
        data = channel.recv(65536)
        if not data:
            raise ConnectionError("the server closed a connection")
        *lines, self._buffers[channel] = (self._buffers[channel] + data).split(b"\n")
        for line in lines:
            if int(line) != self._number[channel]:
                raise ValueError(f"{line!r} came, not {self._number[channel]}")
            self._number[channel] += 1
            self._answers += 1
            self._progress(channel)

    def _progress(self, channel: socket.socket) -> None:
        now = time.monotonic()
        if channel in self._asked:
            kind, since = "idle", self._asked.pop(channel)
        else:
            kind = "to" if channel is self._to else "from"
            since, self._last[kind] = self._last[kind], now
        self._longest[kind] = max(self._longest[kind], now - since)
        if channel is self._to:
            self._ask_at = now + EVERY


def main() -> None:
    """See above."""
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
        return
    client = Client(sys.argv[2], int(sys.argv[3]))
    print("connected", flush=True)
    client.run()


if __name__ == "__main__":
    main()
