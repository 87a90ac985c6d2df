"""Asks an `echo.py`: prints as whom it was seen. `ask.py tcp|udp ADDRESS PORT [WORD]`.

`ask.py talk ADDRESS PORT...` talks to each until its input ends, a line each 5 ms, and checks the
answers; then prints JSON: `lines` that were answered, `errors`, and the longest `gap` in seconds.

`ask.py time ADDRESS PORT BYTES` prints the seconds that so much needs there and back.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

LIMIT = 20.0  # seconds


def seen_as(protocol: str, address: str, port: int) -> str:
    if protocol == "tcp":
        with socket.create_connection((address, port), LIMIT) as connection:
            return connection.makefile().readline().strip().removeprefix("::ffff:")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(LIMIT)
        one.connect((address, port))
        one.send(b"hello")
        seen, said = one.recv(2048).decode().split()
        assert said == "hello"
        return seen.removeprefix("::ffff:")


def seconds_for(address: str, port: int, size: int) -> float:
    with socket.create_connection((address, port), LIMIT) as connection:
        connection.settimeout(60)
        stream = connection.makefile("rwb", buffering=0)
        stream.readline()
        begun = time.monotonic()
        connection.sendall(b"x" * size + b"\n")
        left = size + 1
        while left:
            left -= len(connection.recv(1 << 20))
        return time.monotonic() - begun


class Talk:
    def __init__(self, address: str, port: int) -> None:
        self.lines, self.gap, self.errors = 0, 0.0, []
        self.over = threading.Event()
        self.connection = socket.create_connection((address, port), LIMIT)
        self.connection.settimeout(60)
        self.stream = self.connection.makefile("rwb", buffering=0)
        self.stream.readline()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        last = time.monotonic()
        try:
            while not self.over.is_set():
                said = f"{self.lines}\n".encode()
                self.stream.write(said)
                heard = self.stream.readline()
                if heard != said:
                    raise ValueError(f"{heard!r} instead of {said!r}")
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                last = now
                self.lines += 1
                time.sleep(0.005)
        except (OSError, ValueError) as error:
            self.errors.append(repr(error))


def talk(pairs: list[tuple[str, int]]) -> None:
    talks = [Talk(*pair) for pair in pairs]
    print("talking", flush=True)
    sys.stdin.read()
    for one in talks:
        one.over.set()
        one.thread.join()
    print(json.dumps([{"lines": t.lines, "gap": t.gap, "errors": t.errors} for t in talks]))


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "talk":
        talk([(a, int(p)) for a, p in zip(rest[::2], rest[1::2], strict=True)])
    elif what == "time":
        print(seconds_for(rest[0], int(rest[1]), int(rest[2])))
    else:
        print(seen_as(what, rest[0], int(rest[1])))
