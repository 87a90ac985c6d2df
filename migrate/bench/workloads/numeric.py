"""A numeric loop that never rests, and whose state proves that no step was lost or done twice.

`numeric.py PORT`. Each step is x -> A x + C modulo a prime; after n steps x is known in closed
form. It computes for SLICE seconds, and looks whether it is asked something: as `memory.py`
answers, "r" with the steps that were done, "v" with 1 when x is not what it must be.
"""

from __future__ import annotations

import socket
import sys
import time

from migrate.bench.workloads.memory import Server

PRIME = (1 << 61) - 1
A, C, BEGIN = 1_103_515_245, 12_345, 42
STEPS = 1000  # between two looks at the clock
SLICE = 0.002  # seconds


def state_after(steps: int) -> int:
    """The sum of the geometric series, by the inverse of A - 1."""
    power = pow(A, steps, PRIME)
    return (power * BEGIN + C * (power - 1) * pow(A - 1, -1, PRIME)) % PRIME


class Loop:
    """The state, and how many steps led to it."""

    pages = 1

    def __init__(self) -> None:
        self.x, self.steps = BEGIN, 0

    def write(self, number: int) -> None:
        """STEPS more."""
        x = self.x
        for _ in range(STEPS):
            x = (A * x + C) % PRIME
        self.x = x
        self.steps += STEPS

    def wrong(self) -> int:
        """1 when x is not what so many steps make of it."""
        return int(self.x != state_after(self.steps))


class LoopServer(Server):
    """It computes whenever it is not asked."""

    def _write(self, passed: float) -> None:
        until = time.monotonic() + SLICE
        while time.monotonic() < until:
            self._memory.write(0)
            self._written += STEPS


def main() -> None:
    """Say so, compute."""
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))  # noqa: S104
    print("ready", flush=True)
    LoopServer(Loop(), 0, listener).serve()


if __name__ == "__main__":
    main()
