"""A Redis client of the standard library alone: one connection, a write and a read at a time.

Commands on stdin: a line "mark" reports and begins to count gaps anew; the end of stdin makes it
read all keys back, report and end. Reports are JSON lines.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time


class Connection:
    """One TCP connection; it is never made anew."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.create_connection((address, port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(30)
        self._buffer = b""

    def call(self, *words: str) -> bytes | None:
        """One command and its answer (RESP2)."""
        parts = [f"*{len(words)}\r\n"] + [f"${len(w)}\r\n{w}\r\n" for w in words]
        self._socket.sendall("".join(parts).encode())
        line = self._line()
        if line[:1] == b"-":
            raise ValueError(line.decode())
        if line[:1] != b"$":
            return line[1:]
        size = int(line[1:])
        if size < 0:
            return None
        while len(self._buffer) < size + 2:
            self._more()
        value, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return value

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data


def main() -> None:
    """Write and read until stdin ends."""
    connection = Connection(sys.argv[1], int(sys.argv[2]))
    print("connected", flush=True)
    written, gap, begun = 0, 0.0, 0.0
    errors: list[str] = []
    last = time.monotonic()

    def report(found: int) -> None:
        told = {"written": written, "found": found, "reconnects": 0, "longest_gap": gap,
                "gap_begun": begun, "errors": errors}  # fmt: skip
        print(json.dumps(told), flush=True)

    while True:
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            report(-1)
            gap = 0.0
        try:
            connection.call("SET", f"key:{written}", f"value:{written}")
            if connection.call("GET", f"key:{written}") != f"value:{written}".encode():
                errors.append(f"key:{written} read back wrong")
            written += 1
        except (OSError, ValueError) as error:
            errors.append(str(error))
            break
        now = time.monotonic()
        if now - last > gap:
            gap, begun = now - last, last
        last = now
        time.sleep(0.001)
    found = 0
    if not errors:
        found = sum(
            connection.call("GET", f"key:{n}") == f"value:{n}".encode() for n in range(written)
        )
    report(found)


main()
