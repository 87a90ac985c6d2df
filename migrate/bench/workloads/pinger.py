"""Pings a server over one connection that is never made anew, and tells the longest silence.

`pinger.py ADDRESS PORT PING`. PING is one line, and so is every answer: as `memory.py` speaks, and
as Redis answers inline commands. Commands on stdin: "mark" reports and begins anew; "ask LINE"
sends a line between two pings and tells its answer; the end of stdin ends it. Reports are JSON
lines: `{"gap", "pings", "answer"}`: the longest time without an answer in seconds, the pings ever
answered, and the last answer.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

EVERY = 0.0005  # seconds
PATIENCE = 600.0  # seconds


class Pinger:
    """One connection."""

    def __init__(self, address: str, port: int) -> None:
        self._channel = socket.create_connection((address, port), 10)
        self._channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._channel.settimeout(PATIENCE)

    def ask(self, line: str) -> str:
        """One question and its answer; raises OSError."""
        self._channel.sendall(line.encode() + b"\r\n")
        told = b""
        while not told.endswith(b"\n"):
            data = self._channel.recv(4096)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            told += data
        return told.decode().strip()


def main() -> None:
    """Ping until stdin ends."""
    pinger, word = Pinger(sys.argv[1], int(sys.argv[2])), sys.argv[3]
    print("connected", flush=True)
    gap, pings, last = 0.0, 0, time.monotonic()
    while True:
        answer = pinger.ask(word)
        now = time.monotonic()
        pings += 1
        gap, last = max(gap, now - last), now
        if not select.select([sys.stdin], [], [], EVERY)[0]:
            continue
        order, _, line = sys.stdin.readline().strip().partition(" ")
        if not order:
            return
        if order == "ask":
            print(json.dumps({"answer": pinger.ask(line)}), flush=True)
            last = time.monotonic()
        else:
            print(json.dumps({"gap": gap, "pings": pings, "answer": answer}), flush=True)
            gap, last = 0.0, time.monotonic()


if __name__ == "__main__":
    main()
