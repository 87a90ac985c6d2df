"""Memory, open files and connections that are held, with contents that are known.

`holding.py serve MIB PAGES_PER_SECOND FILES PORT`, in the container: memory as `memory.py` has it
(random), FILES open files, each with a content and a position of its own, and on PORT + 1 as many
connections as come: what they say is echoed. It answers on PORT as `memory.py` does; a file that is
not what it was is one wrong page. `holding.py hold ADDRESS PORT N` is the client of the
connections: it opens N, never anew; a line on stdin has it use each of them, and print
`{"wrong": N}`, JSON: how many did not echo.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import sys
import threading
from pathlib import Path

SIZE = 1000  # bytes of a file
PLACE = Path("/tmp/held")  # in the container
PATIENCE = 60.0  # seconds


def allow(descriptors: int) -> None:
    """Have so many open; raises OSError where the hard limit does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < descriptors + 64:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors + 64, hard))


class Files:
    """Open files; each stands at a place of its own."""

    def __init__(self, count: int) -> None:
        PLACE.mkdir(exist_ok=True)
        self._open = [
            os.open(PLACE / str(number), os.O_RDWR | os.O_CREAT) for number in range(count)
        ]
        for number, descriptor in enumerate(self._open):
            os.pwrite(descriptor, self._content(number), 0)
            os.lseek(descriptor, self._at(number), os.SEEK_SET)

    @staticmethod
    def _content(number: int) -> bytes:
        return (b"%d " % number * SIZE)[:SIZE]

    @staticmethod
    def _at(number: int) -> int:
        return number * 7 % SIZE

    def wrong(self) -> int:
        """How many have another content or stand elsewhere."""
        return sum(
            os.pread(descriptor, SIZE + 1, 0) != self._content(number)
            or os.lseek(descriptor, 0, os.SEEK_CUR) != self._at(number)
            for number, descriptor in enumerate(self._open)
        )


def echo(listener: socket.socket) -> None:
    """What any connection says, for ever."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                channel = key.fileobj
                assert isinstance(channel, socket.socket)
                if channel is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif data := channel.recv(4096):
                    channel.sendall(data)
                else:
                    selector.unregister(channel)
                    channel.close()


def serve(mib: int, rate: int, files: int, port: int) -> None:
    """Hold and answer for ever."""
    from migrate.bench.workloads.memory import PAGE, Memory, Server

    class Held(Memory):
        def wrong(self) -> int:
            return super().wrong() + held.wrong()

    allow(files + 1024)
    held = Files(files)
    memory = Held(mib * 1024 * 1024 // PAGE, "random")
    listener = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- the container's own address
    others = socket.create_server(("0.0.0.0", port + 1), backlog=1024)  # noqa: S104
    threading.Thread(target=echo, args=(others,), daemon=True).start()
    print("ready", flush=True)
    Server(memory, rate, listener).serve()


def hold(address: str, port: int, count: int) -> None:
    """Open the connections, and use them when told to."""
    allow(count)
    channels = [socket.create_connection((address, port), 10) for _ in range(count)]
    for channel in channels:
        channel.settimeout(PATIENCE)
    print("connected", flush=True)
    for turn, _ in enumerate(sys.stdin):
        wrong = 0
        for number, channel in enumerate(channels):
            wrong += not echoes(channel, b"%d %d\n" % (turn, number))
        print(json.dumps({"wrong": wrong}), flush=True)


def echoes(channel: socket.socket, line: bytes) -> bool:
    """Whether the line comes back."""
    try:
        channel.sendall(line)
        told = channel.recv(4096)
        while told and not told.endswith(b"\n"):
            told += channel.recv(4096)
    except OSError:
        return False
    return told == line


def main() -> None:
    """See above."""
    what, *words = sys.argv[1:]
    if what == "serve":
        serve(*(int(word) for word in words))
    else:
        hold(words[0], int(words[1]), int(words[2]))


if __name__ == "__main__":
    main()
