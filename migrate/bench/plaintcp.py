"""Receives one TCP connection's bytes into a file: what our data connections are measured against.

`python -m migrate.bench.plaintcp FILE` prints "listening", takes one connection on PORT, writes
what comes, and answers RECEIVED when it has ended.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

PORT = 7100
RECEIVED = b"."
_BUFFER = 1 << 20
_PATIENCE = 60.0  # seconds, for a connection


def receive(path: Path) -> None:
    """See the module."""
    with socket.create_server(("", PORT)) as server, path.open("wb", buffering=0) as file:
        server.settimeout(_PATIENCE)
        print("listening", flush=True)
        channel, _ = server.accept()
        buffer = memoryview(bytearray(_BUFFER))
        with channel:
            channel.settimeout(None)
            while got := channel.recv_into(buffer):
                rest = buffer[:got]
                while rest:
                    rest = rest[file.write(rest) :]
            channel.sendall(RECEIVED)


if __name__ == "__main__":
    receive(Path(sys.argv[1]))
