"""The memory of `memory.py`, asked by datagrams.

`datagrams.py serve MIB PAGES_PER_SECOND KIND PORT`, in the container: answers at the address of its
host. A datagram is a word and a number, and so is the answer, with what was asked between them: "p"
is answered at once; "r" tells the longest tick so far (us) and the number of pages written, and
both begin anew; "v" checks every page and tells the number of wrong ones. The tick goes by the
clock of the day: CRIU gives a restored process a monotonic clock on which no pause is seen.

`datagrams.py ask PORT ADDRESS ...` is the client. It asks all of the addresses every EVERY seconds,
and whichever answers is where the container is. No connection has to be moved, and no time-out of
TCP that doubles makes a pause look longer than it was. Commands on stdin, answered by JSON lines:
"mark" tells `{"gap", "answers"}`, the longest time without an answer in seconds and their number,
and begins anew; "ask WORD" tells `{"answer"}`; the end of stdin ends it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import Any

EVERY = 0.0005  # seconds
PATIENCE = 60.0  # seconds, for the answer to an order
PARTS = 128
"""Random bodies in each of three sets: a page is the sum of one of each, 8 GiB of pages in all."""
AGAIN = 10.0  # seconds after which "v", which changes nothing, is asked again


def serve(mib: int, rate: int, kind: str, port: int) -> None:
    """Fill, then answer for ever."""
    from migrate.bench.workloads.memory import HEAD, PAGE, Memory, Server

    class Distinct(Memory):
        """Random pages of which no two are alike, for compressors that look back far."""

        def __init__(self, pages: int, kind: str) -> None:
            size = PAGE - HEAD.size
            self._parts = [
                [int.from_bytes(os.urandom(size), "little") for _ in range(PARTS)] for _ in range(3)
            ]
            super().__init__(pages, kind)

        def body_of(self, number: int) -> bytes:
            if self.kind != "random":
                return super().body_of(number)
            ones, tens, hundreds = self._parts
            mixed = ones[number % PARTS] ^ tens[number // PARTS % PARTS]
            mixed ^= hundreds[number // PARTS**2 % PARTS]
            return mixed.to_bytes(PAGE - HEAD.size, "little")

    class DatagramServer(Server):
        """One socket, and whoever asks is answered."""

        def _answer(self) -> bool:
            asked, client = self._listener.recvfrom(64)
            word, _, number = asked.partition(b" ")
            told = b""
            if word == b"v":
                told = b"%d " % self._memory.wrong()
            elif word == b"r":
                told = b"%d %d " % (self._longest * 1e6, self._written)
                self._longest, self._written = 0.0, 0
            self._listener.sendto(b"%b %b%b" % (word, told, number), client)
            return word == b"v"

    memory = Distinct(mib * 1024 * 1024 // PAGE, kind)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("0.0.0.0", port))  # noqa: S104 -- of whichever host it is on
        print("ready", flush=True)
        DatagramServer(memory, rate, channel, time.time).serve()


class Client:
    """A socket for each place where the container may be."""

    def __init__(self, port: int, addresses: list[str]) -> None:
        self._channels = []
        for address in addresses:
            channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            channel.connect((address, port))
            channel.setblocking(False)
            self._channels.append(channel)
        self._number = self._answers = 0
        self._gap, self._last = 0.0, time.monotonic()

    def run(self) -> None:
        """Until stdin ends."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self._send("p")
                due = now + EVERY
            wait = max(0.0, due - time.monotonic())
            ready: list[Any] = select.select([*self._channels, sys.stdin], [], [], wait)[0]
            for channel in ready:
                if channel is not sys.stdin:
                    self._answered(channel)
                elif line := sys.stdin.readline():
                    print(json.dumps(self._obey(line.strip())), flush=True)
                else:
                    return

    def _answered(self, channel: socket.socket) -> None:
        if not self._receive(channel):
            return
        now = time.monotonic()
        self._gap, self._last = max(self._gap, now - self._last), now
        self._answers += 1

    def _send(self, word: str) -> bytes:
        self._number += 1
        number = b"%d" % self._number
        for channel in self._channels:
            try:
                channel.send(word.encode() + b" " + number)
            except (BlockingIOError, ConnectionRefusedError):
                continue  # nobody is there: the other one may be
        return number

    def _receive(self, channel: socket.socket) -> list[bytes]:
        """The words of an answer; none when a host says that nobody listens."""
        try:
            return channel.recv(64).split()
        except (BlockingIOError, ConnectionRefusedError):
            return []

    def _obey(self, order: str) -> dict[str, float | str]:
        if order == "mark":
            gap = max(self._gap, time.monotonic() - self._last)
            told: dict[str, float | str] = {"gap": gap, "answers": self._answers}
            self._gap = 0.0
        else:
            told = {"answer": self._ask(order.removeprefix("ask "))}
        self._answers, self._last = 0, time.monotonic()  # an order's own time is no gap
        return told

    def _ask(self, word: str) -> str:
        """The answer to an order; raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        wanted = {self._send(word)}
        while time.monotonic() < deadline:
            ready = select.select(self._channels, [], [], AGAIN)[0]
            for channel in ready:
                words = self._receive(channel)
                if words and words[-1] in wanted and words[0] == word.encode():
                    return b" ".join(words[1:-1]).decode()
            if not ready and word == "v":
                wanted.add(self._send(word))
        raise TimeoutError(f"no answer to {word!r} within {PATIENCE:g} s")


def main() -> None:
    """See above."""
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    else:
        Client(int(sys.argv[2]), sys.argv[3:]).run()


if __name__ == "__main__":
    main()
