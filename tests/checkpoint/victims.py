"""Containers with a program in them that CRIU can't dump, and a tracer from outside."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from migrate.runtime.records import Bind

VICTIMS = Path(__file__).parents[1] / "criu/catalogue"
SEIZE = """
import ctypes, sys
print(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None), flush=True)  # PTRACE_SEIZE
sys.stdin.read()
"""


def begin(place, kind: str, *binds: Bind, capabilities: tuple[str, ...] = ()):
    """Run the victim of that kind; returns its record when it is ready."""
    victims = Bind(str(VICTIMS), "/victims", read_only=True)
    arguments = ["/usr/bin/python3", "/victims/victims.py", kind, "/tmp"]
    record = place.make("victim", arguments, binds=(victims, *binds), capabilities=capabilities)
    place.wait_for(lambda: "ready" in place.log(record), "not ready: see the log")
    return record


@contextlib.contextmanager
def traced(pid: int) -> Iterator[None]:
    """A process of this host traces that one meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-c", SEIZE, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tracer:
        assert tracer.stdin
        assert tracer.stdout
        assert tracer.stdout.readline() == b"0\n"
        yield
        tracer.stdin.close()  # it ends, and lets go
