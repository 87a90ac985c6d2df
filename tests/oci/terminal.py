"""The side of an engine that gives a console socket and takes the terminal's master."""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path


def listening(path: Path) -> socket.socket:
    """A console socket."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    listener.settimeout(60)
    return listener


def received(listener: socket.socket) -> int:
    """The master that comes over the next connection, alone."""
    connection, _address = listener.accept()
    with connection:
        _data, descriptors, _flags, _peer = socket.recv_fds(connection, 100, 2)
    assert len(descriptors) == 1
    return descriptors[0]


def says(master: int, text: bytes, limit: float = 60.0) -> bool:
    """Whether that comes from the terminal, in however many pieces, within `limit` seconds."""
    heard, deadline = b"", time.monotonic() + limit
    while text not in heard:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([master], [], [], left)[0]:
            return False
        heard += os.read(master, 1000)
    return True
