"""A server that takes its time to accept, and clients that connect again and again.

`serve PORT SECONDS`: accepts one connection in so many seconds (never, if 0), and echoes once.
`call ADDRESS PORT COUNT`: so many clients at once; says "connected" when each has been answered.
Lines on stdin: "mark" reports; the end of stdin ends it, with a report. Reports are JSON lines:
`calls` (answered), `longest` (seconds of a call), `errors`.
"""

import json
import socket
import sys
import threading
import time


def serve(port, seconds):
    listener = socket.create_server(("", port), backlog=64)
    print("ready", flush=True)
    while not seconds:
        time.sleep(60)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,)).start()
        time.sleep(seconds)


def echo(connection):
    with connection:
        try:
            connection.sendall(connection.recv(100))
        except OSError as error:
            print("error", error, flush=True)


class Clients:
    def __init__(self, address, port, count):
        self.address, self.port = address, port
        self.calls, self.longest, self.errors, self.ends = 0, 0.0, [], False
        self.answered = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()
        for _ in self.threads:
            self.answered.acquire()

    def work(self, number):
        first = True
        while not self.ends and not self.errors:
            begun = time.monotonic()
            try:
                with socket.create_connection((self.address, self.port), 20) as connection:
                    connection.sendall(b"hello %d" % number)
                    if connection.recv(100) != b"hello %d" % number:
                        raise OSError("there was no answer")
            except OSError as error:
                self.errors.append(f"{error} after {time.monotonic() - begun:.2f} s")
            self.calls += 1
            self.longest = max(self.longest, time.monotonic() - begun)
            if first:
                self.answered.release()
                first = False

    def report(self):
        told = {"calls": self.calls, "longest": self.longest, "errors": self.errors, "gap": 0.0}
        print(json.dumps(told), flush=True)
        self.longest = 0.0


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), float(sys.argv[3]))
    clients = Clients(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print("connected", flush=True)
    while sys.stdin.readline():
        clients.report()
    clients.ends = True
    for thread in clients.threads:
        thread.join()
    clients.report()


main()
