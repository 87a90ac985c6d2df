"""Talks to a `cat` at the far end of an ssh session, and compares every byte that comes back.

`sshecho.py COMMAND...`: ssh with all that it needs. Commands on stdin: a line "mark" reports and
begins anew; the end of stdin ends the session, when all that was sent has come back, and reports.
Reports are JSON lines: `gap` (seconds, the longest wait for what was sent), `bytes`, `errors`.
"""

import hashlib
import json
import os
import select
import subprocess
import sys
import time

EVERY = 0.01  # seconds between two blocks
MOST = 1 << 20  # bytes on their way


def block(number):
    """The so-many-th, of 1600 bytes; the same each time."""
    return hashlib.sha256(str(number).encode()).digest() * 50


class Session:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.into, self.back = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.number, self.waiting, self.since = 0, b"", time.monotonic()
        self.gap, self.bytes, self.errors = 0.0, 0, []

    def send(self):
        if len(self.waiting) < MOST and not self.errors:
            data = block(self.number)
            self.number += 1
            if not self.waiting:
                self.since = time.monotonic()
            self.waiting += data
            try:
                os.write(self.into, data)
            except OSError as error:
                self.errors.append(f"it can't be sent: {error}")

    def receive(self):
        data = os.read(self.back, 65536)
        now = time.monotonic()
        self.gap, self.since = max(self.gap, now - self.since), now
        if not data:
            self.errors.append("the session has ended")
        elif not self.waiting.startswith(data):
            self.errors.append(f"after {self.bytes} bytes, others came back than were sent")
        self.waiting = self.waiting[len(data) :]
        self.bytes += len(data)

    def report(self):
        if self.process.poll():
            self.errors.append(self.process.stderr.read().decode())
        print(json.dumps({"gap": self.gap, "bytes": self.bytes, "errors": self.errors}), flush=True)
        self.gap = 0.0

    def end(self):
        while self.waiting and not self.errors and select.select([self.back], [], [], 30)[0]:
            self.receive()
        if self.waiting and not self.errors:
            self.errors.append(f"{len(self.waiting)} bytes did not come back")
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.errors.append("ssh does not end")
        if self.process.wait():
            self.errors.append(f"ssh ended with {self.process.returncode}")


def main():
    session = Session(sys.argv[1:])
    session.send()
    session.receive()
    if session.errors:
        session.process.kill()
        sys.exit(f"{session.errors} {session.process.stderr.read()}")
    print("connected", flush=True)
    due = time.monotonic()
    while True:
        watched = [sys.stdin, *([] if session.errors else [session.back])]
        ready = select.select(watched, [], [], max(0.0, due - time.monotonic()))[0]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                break
            session.report()
        if session.back in ready:
            session.receive()
        if time.monotonic() >= due:
            session.send()
            due = time.monotonic() + EVERY
    session.end()
    session.report()


main()
