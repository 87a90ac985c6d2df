"""The interface of a container under load, and of a client that runs beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from tests.hosts.host import Client, Host

PROGRAMS = Path(__file__).parents[1] / "programs"
START_LIMIT = 50.0  # seconds


class Workload(Protocol):
    """One container. What it and its clients hold is checked by themselves."""

    name: str
    """Of the container."""

    def start(self, host: Host, client: Client) -> None:
        """Run the container on `host`, and its clients at `client`; they never connect anew."""
        ...

    def mark(self) -> float | None:
        """The longest time in seconds without progress since the last call, as a client saw it.

        None where no connection leads into the container.
        """
        ...

    def finish(self, host: Host) -> list[str]:
        """End the clients, and say what is wrong; `host` is where the container is now."""
        ...

    def kill(self) -> None:
        """End the clients without a word. Safe to repeat, and after `finish`."""
        ...


class Reporter:
    """A client program: says "connected", then an object for each line "mark", one at its end.

    The objects have at least `gap` (seconds, since the last one) and `errors`.
    """

    def __init__(self, machine: Client, program: str, *arguments: str) -> None:
        self._process: subprocess.Popen[str] = machine.popen(
            [sys.executable, "-I", "-S", str(PROGRAMS / program), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        first = self._process.stdout.readline()
        if "connected" not in first:
            raise RuntimeError(f"{program} could not connect: {first}")

    def mark(self) -> dict[str, Any]:
        """What it says now."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("mark\n")
            self._process.stdin.flush()
        return self._told()

    def finish(self) -> dict[str, Any]:
        """What it says last."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        told = self._told()
        self._process.wait(60)
        return told

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            return {"gap": 0.0, "errors": ["the client died; see its standard error"]}
        told: dict[str, Any] = json.loads(line)
        return told

    def kill(self) -> None:
        """End it without a report."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def wait_for_port(machine: Client, address: str, port: int) -> None:
    """Until somebody listens there; raises AssertionError after START_LIMIT."""
    probe = (
        "import socket,sys,time\n"
        f"end=time.monotonic()+{START_LIMIT}\n"
        "while True:\n"
        f" try:\n  socket.create_connection(('{address}',{port}),1).close(); break\n"
        " except OSError:\n  time.sleep(.05)\n  if time.monotonic()>end: sys.exit(1)\n"
    )
    machine.run([sys.executable, "-I", "-S", "-c", probe])
    time.sleep(0.05)
