"""Datagrams that are answered, and a client that asks all the time and counts.

`datagrams.py serve PORT`, and `datagrams.py ask ADDRESS PORT`, as tests/evacuate/workloads'
Reporter wants it: `gap` (seconds, the longest time without an answer), `asked`, `lost`, `errors`. A
question is lost when it has no answer within PATIENCE at the end.
"""

import json
import select
import socket
import sys
import time

EVERY = 0.01  # seconds
ROOM = 1 << 20
"""Bytes wanted for what is not read yet; what comes in a long pause is lost where it has none."""
PATIENCE = 25.0


def serve(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    server.bind(("0.0.0.0", port))
    print("ready", flush=True)
    while True:
        asked, client = server.recvfrom(64)
        server.sendto(asked, client)


class Client:
    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self.socket.connect((address, port))  # so that a refusal (ICMP) is heard
        self.asked, self.open, self.errors = 0, set(), []
        self.gap, self.heard = 0.0, time.monotonic()

    def ask(self):
        self.asked += 1
        self.open.add(self.asked)
        try:
            self.socket.send(b"%d" % self.asked)
        except OSError as error:
            self.errors.append(f"asking: {error}")

    def hear(self):
        try:
            self.open.discard(int(self.socket.recv(64)))
        except OSError as error:
            self.errors.append(f"hearing: {error}")
        now = time.monotonic()
        self.gap, self.heard = max(self.gap, now - self.heard), now

    def drain(self):
        until = time.monotonic() + PATIENCE
        while self.open and (left := until - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self.hear()

    def report(self):
        told = {"gap": self.gap, "asked": self.asked, "lost": len(self.open),
                "errors": self.errors[:9]}  # fmt: skip
        print(json.dumps(told), flush=True)
        self.gap = 0.0


def ask(address, port):
    client = Client(address, port)
    client.ask()
    client.drain()
    if not client.open:
        print("connected", flush=True)
    at = time.monotonic()
    while True:
        wait = max(0.0, at - time.monotonic())
        ready = select.select([client.socket, sys.stdin], [], [], wait)[0]
        if client.socket in ready:
            client.hear()
        if time.monotonic() >= at:
            client.ask()
            at = max(at + EVERY, time.monotonic())  # no burst after a time without a processor
        if sys.stdin in ready:
            if not sys.stdin.readline():
                break
            client.report()
    client.drain()
    client.report()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]))
