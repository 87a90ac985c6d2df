"""Pings `memory.py` over one connection, and tells the longest time without an answer.

`pinger.py ADDRESS PORT`. Commands on stdin: "mark" reports and forgets; "verify" has all pages
checked; the end of stdin ends it. Reports are JSON lines: `{"gap", "inside", "wrong"}`, seconds
from outside, seconds from inside, pages.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

EVERY = 0.001  # seconds


class Pinger:
    """One connection, never made anew."""

    def __init__(self, address: str, port: int) -> None:
        self._channel = socket.create_connection((address, port), 10)
        self._channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._channel.settimeout(300)

    def ask(self, word: bytes) -> int:
        """One question; raises OSError."""
        self._channel.sendall(word + b"\n")
        told = b""
        while not told.endswith(b"\n"):
            data = self._channel.recv(4096)
            if not data:
                raise ConnectionResetError("the workload closed the connection")
            told += data
        return int(told)


def main() -> None:
    """Ping until stdin ends."""
    pinger = Pinger(sys.argv[1], int(sys.argv[2]))
    pinger.ask(b"r")
    print("connected", flush=True)
    gap, last = 0.0, time.monotonic()
    while True:
        inside = pinger.ask(b"p")
        now = time.monotonic()
        gap, last = max(gap, now - last), now
        if select.select([sys.stdin], [], [], EVERY)[0]:
            word = sys.stdin.readline().strip()
            if not word:
                return
            wrong = pinger.ask(b"v") if word == "verify" else 0
            print(json.dumps({"gap": gap, "inside": inside / 1e6, "wrong": wrong}), flush=True)
            pinger.ask(b"r")
            gap, last = 0.0, time.monotonic()


main()
