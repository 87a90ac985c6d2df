"""Pings a server over one connection that is never made anew, and tells the longest silence.

`pinger.py ADDRESS PORT PING [PROTOCOL]`. By default PING is one line, and so is every answer: as
`memory.py` speaks, and as Redis answers inline commands. PROTOCOL `postgres`: PING is a statement,
the answer its first value; `http`: a path whose head is asked for, the answer its status. Commands
on stdin: "mark" reports and begins anew; "ask LINE" sends a line between two pings and tells its
answer; "latency" tells the pings around the longest silence since the last mark; the end of stdin
ends it. Reports are JSON lines: `{"gap", "pings", "answer"}`: the longest time without an answer in
seconds, the pings ever answered, and the last answer; or `{"latency"}`: a list of [when a ping was
sent, seconds until its answer], times in seconds from the end of that silence, at most AROUND
before it and as many behind it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections import deque

EVERY = 0.0005  # seconds
PATIENCE = 600.0  # seconds
AROUND = 1000  # pings


class Pinger:
    """One connection."""

    def __init__(self, address: str, port: int) -> None:
        self._channel = socket.create_connection((address, port), 10)
        self._channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._channel.settimeout(PATIENCE)

    def ask(self, line: str) -> str:
        """One question and its answer; raises OSError."""
        self._channel.sendall(line.encode() + b"\r\n")
        return self._until(b"\n").decode().strip()

    def _until(self, end: bytes) -> bytes:
        """All that is told, to `end`."""
        told = b""
        while not told.endswith(end):
            told += self._receive(4096)
        return told

    def _receive(self, most: int) -> bytes:
        data = self._channel.recv(most)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data


class HttpPinger(Pinger):
    """The head of a file, over HTTP/1.1 (RFC 9112); the connection stays."""

    def ask(self, line: str) -> str:
        """One question and its status; raises OSError."""
        self._channel.sendall(b"HEAD %b HTTP/1.1\r\nHost: bench\r\n\r\n" % line.encode())
        return self._until(b"\r\n\r\n").split(None, 2)[1].decode()


class PostgresPinger(Pinger):
    """Statements of the user postgres, without a password (PostgreSQL: Message Formats)."""

    VERSION = 3 << 16
    # A commit that waits for the disk would measure the disk.
    PARAMETERS = b"user\0postgres\0database\0postgres\0options\0-c synchronous_commit=off\0\0"

    def __init__(self, address: str, port: int) -> None:
        super().__init__(address, port)
        size = 8 + len(self.PARAMETERS)
        self._channel.sendall(struct.pack("!II", size, self.VERSION) + self.PARAMETERS)
        self._answer()

    def ask(self, line: str) -> str:
        """One statement and its first value; raises OSError, ValueError."""
        words = line.encode() + b"\0"
        self._channel.sendall(b"Q" + struct.pack("!I", 4 + len(words)) + words)
        return self._answer()

    def _answer(self) -> str:
        """Messages until the server is ready for a query."""
        value, kind = "", b""
        while kind != b"Z":
            kind = self._exactly(1)
            body = self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
            if kind == b"E":
                raise ValueError(f"the server says {body!r}")
            if kind == b"D" and not value:  # number of columns, size of the first, the first
                size = struct.unpack("!HI", body[:6])[1]
                value = body[6 : 6 + size].decode()
        return value

    def _exactly(self, size: int) -> bytes:
        told = b""
        while len(told) < size:
            told += self._receive(size - len(told))
        return told


class Watch:
    """What was seen since the last mark: the longest silence, and the pings around it."""

    def __init__(self) -> None:
        self.gap = self._ended = 0.0
        self._last = time.monotonic()
        self._recent: deque[tuple[float, float]] = deque(maxlen=AROUND)
        self._around: list[tuple[float, float]] = []
        self._wanted = 0

    def answered(self, sent: float, now: float) -> None:
        """A ping was sent and answered, by the monotonic clock."""
        silence, self._last = now - self._last, now
        sample = (sent, now - sent)
        if silence > self.gap:
            self.gap, self._ended = silence, now
            self._around = [*self._recent, sample]
            self._wanted = AROUND
        elif self._wanted:
            self._around.append(sample)
            self._wanted -= 1
        self._recent.append(sample)

    def resume(self) -> None:
        """Something else was done meanwhile; that is no silence of the server's."""
        self._last = time.monotonic()

    def latency(self) -> list[tuple[float, float]]:
        """The pings around the longest silence, from its end."""
        return [(round(sent - self._ended, 6), round(took, 6)) for sent, took in self._around]


PROTOCOLS = {"line": Pinger, "http": HttpPinger, "postgres": PostgresPinger}


def main() -> None:
    """Ping until stdin ends."""
    address, port, word, *protocol = sys.argv[1:]
    pinger = PROTOCOLS[protocol[0] if protocol else "line"](address, int(port))
    print("connected", flush=True)
    watch, pings = Watch(), 0
    while True:
        sent = time.monotonic()
        answer = pinger.ask(word)
        watch.answered(sent, time.monotonic())
        pings += 1
        if not select.select([sys.stdin], [], [], EVERY)[0]:
            continue
        order, _, line = sys.stdin.readline().strip().partition(" ")
        if not order:
            return
        if order == "ask":
            print(json.dumps({"answer": pinger.ask(line)}), flush=True)
            watch.resume()
        elif order == "latency":
            print(json.dumps({"latency": watch.latency()}), flush=True)
            watch.resume()
        else:
            print(json.dumps({"gap": watch.gap, "pings": pings, "answer": answer}), flush=True)
            watch = Watch()


if __name__ == "__main__":
    main()
