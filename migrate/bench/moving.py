"""One `migrate move` on a test host, with the times at which it told what."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import NAME

LIMIT = 900.0  # seconds
BACK = "committed"
"""The note that tells that COMMIT was answered: the target has let the container run."""


@dataclass(frozen=True)
class Moved:
    """What a move has told."""

    result: dict[str, Any]
    rounds: tuple[int, ...]
    """Bytes of pages that each round has found."""
    back: float
    """When the container ran at the target, on this machine's monotonic clock; a few ms late."""
    seconds: float
    """The whole command."""


def move(source: Any, target: Any, migrate: str, mode: str) -> Moved:
    """Move the container NAME; raises BenchImpossible when that fails."""
    begun = time.monotonic()
    child = source.popen(
        [migrate, "move", "--mode", mode, NAME, target.ssh_target, "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    limit = threading.Timer(LIMIT, child.kill)
    limit.start()
    events, rest, back = [], [], 0.0
    try:
        for line in child.stdout:
            if not line.startswith("{"):
                rest.append(line)
                continue
            events.append(json.loads(line))
            if events[-1].get("name") == BACK:
                back = time.monotonic()
        child.wait()
        whole = time.monotonic() - begun
    finally:
        limit.cancel()
    result = next((event["result"] for event in events if "result" in event), None)
    if child.returncode or result is None:
        raise BenchImpossible(
            f"a move in the mode {mode} failed",
            cause="".join(rest).strip() or str(events[-1:]),
        )
    rounds = tuple(event["bytes"] for event in events if event.get("event") == "round")
    return Moved(result, rounds, back or time.monotonic(), whole)
