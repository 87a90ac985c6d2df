"""A process with memory of a known content, some of it written again and again, that serves pings.

`memory.py MIB PAGES_PER_SECOND KIND PORT`. KIND is random, text or zero: what a page holds behind
its head of 16 bytes, its own number and its version. One connection: a line "p" is answered at once
with the longest tick so far (us); "r" forgets it; "v" checks every page and answers the number of
wrong ones.
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

    def __init__(self, pages: int, kind: str) -> None:
        self.pages = pages
        self.map = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.versions = array.array("Q", bytes(8 * pages))
        # A few bodies: making each page's own would take longer than all else.
        self.bodies = [body(kind) for _ in range(251)]
        if kind != "zero":
            for number in range(pages):
                at = number * PAGE
                self.map[at : at + PAGE] = HEAD.pack(number, 0) + self.bodies[number % 251]

    def write(self, number: int) -> None:
        """A new version of a page."""
        self.versions[number] += 1
        HEAD.pack_into(self.map, number * PAGE, number, self.versions[number])

    def wrong(self, zero: bool) -> int:
        """How many pages do not hold what they must."""
        count = 0
        for number in range(self.pages):
            at, version = number * PAGE, self.versions[number]
            head = HEAD.pack(number, version) if version or not zero else bytes(HEAD.size)
            count += self.map[at : at + PAGE] != head + self.bodies[number % 251]
        return count


def serve(memory: Memory, rate: int, zero: bool, listener: socket.socket) -> None:
    """Tick and answer for ever."""
    channel: socket.socket | None = None
    longest, last, owed = 0.0, time.monotonic(), 0.0
    while True:
        ready = select.select([channel or listener], [], [], TICK)[0]
        now = time.monotonic()
        longest = max(longest, now - last)
        owed += (now - last) * rate
        last = now
        for _ in range(min(int(owed), rate // 10)):
            memory.write(random.randrange(memory.pages))  # noqa: S311
        owed -= int(owed)
        if not ready:
            continue
        if channel is None:
            channel = listener.accept()[0]
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            continue
        asked = channel.recv(4096)
        if not asked:
            channel = None
        elif b"v" in asked:
            channel.sendall(b"%d\n" % memory.wrong(zero))
            last = time.monotonic()
        else:
            channel.sendall(b"%d\n" % int(longest * 1e6) * asked.count(b"\n"))
            if b"r" in asked:
                longest = 0.0


def main() -> None:
    """Fill, say so, serve."""
    size, rate, kind, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    memory = Memory(size * 1024 * 1024 // PAGE, kind)
    listener = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- the container's own address
    print("ready", flush=True)
    serve(memory, rate, kind == "zero", listener)


main()
