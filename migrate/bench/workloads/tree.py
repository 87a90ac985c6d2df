"""A tree of processes that hold memory together, write to it slowly and check it.

`tree.py PROCESSES MIB PAGES_PER_SECOND KIND PORT`. One process makes SHARED_MIB of memory and forks
the others, who share it copy-on-write; then each makes so much for itself that all have MIB: the
sum of their resident anonymous memory. (A move undoes the sharing, and it is their true size.) All
of them write, together PAGES_PER_SECOND, to both parts. The first one answers as `memory.py` does;
asked to check, it asks each of the others, and one that is gone is wrong with all its pages.
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys
import time

from migrate.bench.workloads.memory import PAGE, Memory, Server

SHARED_MIB = 2
LEAST = 16  # pages of a process for itself
EVERY = 0.05  # seconds between two writes of a process that waits


def resident_pages() -> int:
    """Anonymous ones of this process (proc_pid_statm(5): resident without shared)."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 -- pathlib is memory, too
        _size, resident, shared = file.read().split()[:3]
    return int(resident) - int(shared)


class Parts:
    """The shared and the own part of one process, under one numbering."""

    def __init__(self, shared: Memory, pages: int) -> None:
        """`pages`: how many of memory the process is to have, all counted."""
        self.shared = shared
        own_pages = max(LEAST, pages - resident_pages())
        self.own = Memory(own_pages, shared.kind, shared.bodies)
        self.pages = shared.pages + own_pages

    def write(self, number: int) -> None:
        """A new version of a page."""
        if number < self.shared.pages:
            self.shared.write(number)
        else:
            self.own.write(number - self.shared.pages)

    def wrong(self) -> int:
        """How many pages do not hold what they must."""
        return self.shared.wrong() + self.own.wrong()


class Family(Parts):
    """The first process's parts, with those of the others behind sockets."""

    def __init__(self, shared: Memory, pages: int, others: list[socket.socket]) -> None:
        super().__init__(shared, pages)
        self._others = others

    def wrong(self) -> int:
        """How many pages of all processes do not hold what they must."""
        count = super().wrong()
        for other in self._others:
            try:
                other.sendall(b"v")
                told = other.recv(32)
            except OSError:
                told = b""
            count += int(told) if told else self.pages
        return count


def live(parts: Parts, rate: float, channel: socket.socket) -> None:
    """Write and answer until the first process is gone."""
    random.seed(os.getpid())
    channel.sendall(b"ready")
    last, owed = time.monotonic(), 0.0
    while True:
        ready = select.select([channel], [], [], EVERY)[0]
        now = time.monotonic()
        owed = min(owed + (now - last) * rate, rate)  # a pause is not made up for
        last = now
        while owed >= 1:
            parts.write(random.randrange(parts.pages))  # noqa: S311
            owed -= 1
        if ready:
            if not channel.recv(1):
                return
            channel.sendall(b"%d" % parts.wrong())


def main() -> None:
    """Fork, fill, say so, serve."""
    processes, size, rate = (int(word) for word in sys.argv[1:4])
    kind, port = sys.argv[4], int(sys.argv[5])
    shared = Memory(SHARED_MIB * 1024 * 1024 // PAGE, kind)
    each = size * 1024 * 1024 // PAGE // processes
    others: list[socket.socket] = []
    for _ in range(processes - 1):
        mine, its = socket.socketpair()
        if os.fork() == 0:
            mine.close()
            for other in others:
                other.close()
            live(Parts(shared, each), rate / processes, its)
            os._exit(0)
        its.close()
        others.append(mine)
    family = Family(shared, each, others)
    for other in others:
        other.recv(32)
    listener = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- the container's own address
    print("ready", flush=True)
    Server(family, rate // processes, listener).serve()


if __name__ == "__main__":
    main()
