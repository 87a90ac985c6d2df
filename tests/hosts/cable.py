"""A bad cable: frames of two TAP interfaces go from one to the other late, and some never.

`python -m tests.hosts.cable A B DELAY LOSS`: names, seconds each way, and the share that is lost.
The kernel here has neither netem nor a queue that delays, so a process carries the frames, which
is good for some ten thousand a second. The interfaces are its own: they go when it ends. It prints
"up" when they are there, and ends with the end of its input.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import sys
import time
from collections import deque

from migrate.kernel import interfaces, tap

QUEUE = 4096  # frames
BATCH = 1 << 20  # bytes


class Direction:
    """From one descriptor to another."""

    def __init__(self, source: int, target: int, delay: float, loss: float) -> None:
        self.source, self._target = source, target
        self._delay, self._loss = delay, loss
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """What has come begins its way."""
        for frame in tap.read_frames(self.source, BATCH):
            if random.random() >= self._loss:
                self._waiting.append((now + self._delay, frame))

    def deliver(self, now: float) -> float | None:
        """What is due arrives; when the next one is."""
        while self._waiting and self._waiting[0][0] <= now:
            with contextlib.suppress(OSError):  # the other end is down, or its queue is full
                os.write(self._target, self._waiting[0][1])
            self._waiting.popleft()
        return self._waiting[0][0] if self._waiting else None


def main() -> None:
    """See above."""
    names, delay, loss = sys.argv[1:3], float(sys.argv[3]), float(sys.argv[4])
    ends = [tap.open_tap(name) for name in names]
    for name in names:
        interfaces.set_queue_length(name, QUEUE)
        interfaces.bring_up(name)
    ways = [Direction(*ends, delay, loss), Direction(*reversed(ends), delay, loss)]
    print("up", flush=True)
    poll = select.poll()
    for descriptor in (*ends, 0):
        poll.register(descriptor, select.POLLIN)
    while True:
        now = time.monotonic()
        due = [when for way in ways if (when := way.deliver(now)) is not None]
        wait = max(0.0, min(due) - now) * 1000 if due else None
        ready = {descriptor for descriptor, _ in poll.poll(wait)}
        if 0 in ready:
            return
        for way in ways:
            if way.source in ready:
                way.take(time.monotonic())


if __name__ == "__main__":
    main()
