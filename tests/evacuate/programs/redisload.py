"""Load as of `redis-benchmark -c 50` that checks itself: each connection counts up its own key.

`redisload.py ADDRESS PORT CONNECTIONS`. Every answer must be one more than the last: a request that
was lost or done twice shows. Commands on stdin: a line "mark" reports and begins anew; the end of
stdin reports and ends. Reports are JSON lines: `gap` (seconds, the longest that a connection waited
for an answer), `requests`, `errors`.
"""

import json
import select
import socket
import sys
import time

EVERY = 0.005  # seconds between two looks at all connections: load, and time for the others
PATIENCE = 60.0  # seconds


def answers_of(buffer):
    """Whole lines, and what is left."""
    *lines, rest = buffer.split(b"\r\n")
    return lines, rest


class Load:
    def __init__(self, address, port, count):
        self.poll = select.epoll()
        self.sockets, self.counts, self.rest, self.asked = {}, {}, {}, {}
        for number in range(count):
            channel = socket.create_connection((address, port), 10)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel.setblocking(False)
            key = channel.fileno()
            self.sockets[key], self.counts[key], self.rest[key] = (channel, number), 0, b""
            self.poll.register(key, select.EPOLLIN)
        self.gap, self.errors = 0.0, []

    def ask(self, key):
        channel, number = self.sockets[key]
        channel.send(b"INCR load:%d\r\n" % number)
        self.asked[key] = time.monotonic()

    def hear(self, key):
        data = self.sockets[key][0].recv(4096)
        if not data:
            raise ConnectionResetError("the server closed a connection")
        lines, self.rest[key] = answers_of(self.rest[key] + data)
        for line in lines:
            self.counts[key] += 1
            if line != b":%d" % self.counts[key]:
                raise ValueError(f"{line!r} instead of {self.counts[key]}")
            self.gap = max(self.gap, time.monotonic() - self.asked.pop(key))

    def turn(self):
        for key, _events in self.poll.poll(0):
            self.hear(key)
        for key in self.sockets.keys() - self.asked.keys():
            self.ask(key)

    def drain(self):
        until = time.monotonic() + PATIENCE
        while self.asked:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.asked)} requests were not answered")
            for key, _events in self.poll.poll(1):
                self.hear(key)

    def report(self):
        told = {"gap": self.gap, "requests": sum(self.counts.values()), "errors": self.errors}
        print(json.dumps(told), flush=True)
        self.gap = 0.0


def main():
    load = Load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("connected", flush=True)
    while True:
        if select.select([sys.stdin], [], [], EVERY)[0]:
            if not sys.stdin.readline():
                break
            waiting = [time.monotonic() - at for at in load.asked.values()]
            load.gap = max([load.gap, *waiting])  # who still waits has had its gap, too
            load.report()
        if not load.errors:
            try:
                load.turn()
            except (OSError, ValueError) as error:
                load.errors.append(str(error))
    if not load.errors:
        try:
            load.drain()
        except (OSError, ValueError) as error:
            load.errors.append(str(error))
    load.report()


main()
