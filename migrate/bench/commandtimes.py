"""Runs commands on this host in turns, and tells how long each took.

`python -m migrate.bench.commandtimes RUNS` reads a JSON object of commands (name: list of words) on
stdin, and prints one of the wall times in seconds, from the start of each to its end (name: list of
RUNS numbers). A first turn does not count. The commands have /dev/null as their streams; one that
fails ends it, with its name and its standard error.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO

LIMIT = 60.0  # seconds of one command


def in_turns(commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """The seconds of each; raises RuntimeError when one fails or takes longer than LIMIT."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryFile(buffering=0) as complaints:
        for turn in range(runs + 1):
            for name, command in commands.items():
                complaints.seek(0)  # the commands write where we are
                complaints.truncate()
                took, code = _once(command, complaints)
                if code:
                    complaints.seek(0)
                    told = complaints.read().decode(errors="replace").strip()
                    raise RuntimeError(f"{name}: exit code {code}: {told}")
                if turn:
                    seconds[name].append(took)
    return seconds


def _once(command: list[str], complaints: IO[bytes]) -> tuple[float, int]:
    """Seconds and exit code.

    No wait with a time limit: subprocess asks only every 50 ms then, and so would the figures be.
    """
    begun = time.monotonic()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints
    )
    limit = threading.Timer(LIMIT, child.kill)
    limit.start()
    try:
        code = child.wait()
        return time.monotonic() - begun, code
    finally:
        limit.cancel()


if __name__ == "__main__":
    try:
        print(json.dumps(in_turns(json.load(sys.stdin), int(sys.argv[1]))))
    except RuntimeError as error:
        sys.exit(str(error))
