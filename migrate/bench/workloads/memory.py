"""A process with memory of a known content, some of it written again and again, that serves pings.

`memory.py MIB PAGES_PER_SECOND KIND PORT [WORKING_MIB]`. KIND is random, text or zero: what a page
holds behind its head of 16 bytes, its own number and its version. Pages are written anywhere, or
only in the first WORKING_MIB. One connection: a line "p" is answered at once
with the longest tick so far (us); "r" with that and the number of pages written, and both begin
anew; "v" checks every page and answers the number of wrong ones.
"""

from __future__ import annotations

import array
import mmap
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol

PAGE = 4096
HEAD = struct.Struct("=QQ")
TICK = 0.001  # seconds
WORDS = b"the of and to in that is was he for it with as his on be at by had not are but from"


def body(kind: str) -> bytes:
    """What a page holds behind its head."""
    if kind == "random":
        return os.urandom(PAGE - HEAD.size)
    if kind == "text":
        words = WORDS.split()
        return b" ".join(random.choices(words, k=1500))[: PAGE - HEAD.size]  # noqa: S311
    return bytes(PAGE - HEAD.size)


class Memory:
    """The pages, and what each of them must hold."""

    def __init__(self, pages: int, kind: str, bodies: list[bytes] | None = None) -> None:
        """`bodies`: those of another memory of this kind, to have them once."""
        self.pages = pages
        self.kind = kind
        self.map = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.versions = array.array("Q", bytes(8 * pages))
        # A few bodies: making each page's own would take longer than all else.
        self.bodies = bodies or [body(kind) for _ in range(251)]
        if kind != "zero":
            for number in range(pages):
                at = number * PAGE
                self.map[at : at + PAGE] = HEAD.pack(number, 0) + self.body_of(number)

    def body_of(self, number: int) -> bytes:
        """What the page holds behind its head."""
        return self.bodies[number % len(self.bodies)]

    def write(self, number: int) -> None:
        """A new version of a page."""
        self.versions[number] += 1
        HEAD.pack_into(self.map, number * PAGE, number, self.versions[number])

    def wrong(self) -> int:
        """How many pages do not hold what they must."""
        count, zero = 0, self.kind == "zero"
        for number in range(self.pages):
            at, version = number * PAGE, self.versions[number]
            head = HEAD.pack(number, version) if version or not zero else bytes(HEAD.size)
            count += self.map[at : at + PAGE] != head + self.body_of(number)
        return count


class Written(Protocol):
    """What is written to and checked."""

    pages: int

    def write(self, number: int) -> None:
        """A new version of a page."""

    def wrong(self) -> int:
        """How many pages do not hold what they must."""


class Server:
    """One client at a time, and pages written as the clock tells."""

    def __init__(
        self, memory: Written, rate: int, listener: socket.socket,
        clock: Callable[[], float] = time.monotonic, working: int = 0,
    ) -> None:  # fmt: skip
        """`working`: how many pages are written, from the first on; 0 for all."""
        self._memory, self._rate, self._listener, self._clock = memory, rate, listener, clock
        self._working = min(working or memory.pages, memory.pages)
        self._channel: socket.socket | None = None
        self._longest = self._owed = 0.0
        self._written = 0

    def serve(self) -> None:
        """Tick and answer for ever."""
        last = self._clock()
        while True:
            ready = select.select([self._channel or self._listener], [], [], TICK)[0]
            now = self._clock()
            self._longest = max(self._longest, now - last)
            self._write(now - last)
            last = now
            if ready and self._answer():
                last = self._clock()

    def _write(self, passed: float) -> None:
        """What is due after `passed` seconds, of a pause its last 0.1 s.

        At most 10 ms of it in one go: who waits for an answer does not wait for all of that, too.
        """
        self._owed = min(self._owed + passed * self._rate, max(1.0, self._rate / 10))
        due = min(int(self._owed), max(1, self._rate // 100))
        for _ in range(due):
            self._memory.write(random.randrange(self._working))  # noqa: S311
        self._written += due
        self._owed -= due

    def _answer(self) -> bool:
        """Whether it took long, and is to be in no tick."""
        if self._channel is None:
            self._channel = self._listener.accept()[0]
            self._channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return False
        asked = self._channel.recv(4096)
        if not asked:
            self._channel = None
        elif b"v" in asked:
            self._channel.sendall(b"%d\n" % self._memory.wrong())
            return True
        elif b"r" in asked:
            self._channel.sendall(b"%d %d\n" % (self._longest * 1e6, self._written))
            self._longest, self._written = 0.0, 0
        else:
            self._channel.sendall(b"%d\n" % (self._longest * 1e6) * asked.count(b"\n"))
        return False


def main() -> None:
    """Fill, say so, serve."""
    size, rate, kind, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    working = int(sys.argv[5]) * 1024 * 1024 // PAGE if len(sys.argv) > 5 else 0
    memory = Memory(size * 1024 * 1024 // PAGE, kind)
    listener = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- the container's own address
    print("ready", flush=True)
    Server(memory, rate, listener, working=working).serve()


if __name__ == "__main__":
    main()
