"""Tracks the written pages of a container on this host, a round a second, until stdin ends.

`python -m migrate.bench.tracking NAME` is what `migrate bench tracked` runs beside the load. It
prints "tracking" after the first round, which tells of all memory, and at the end one JSON line:
the seconds of each round, the bytes of pages that each has found, and the processes not tracked.
"""

from __future__ import annotations

import json
import select
import sys
import time

from migrate.bench.errors import BenchImpossible
from migrate.checkpoint.tracking import wp_async
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.paths import Paths
from migrate.runtime.status import process_of_container

EVERY = 1.0  # seconds


def track(paths: Paths, name: str) -> dict[str, object]:
    """Rounds until stdin ends; raises BenchImpossible when a process can't be tracked."""
    record = records.find(paths, name)
    process = process_of_container(paths, record)
    group = ControlGroup.of(record.identifier)
    tracker = wp_async.track(group.pids, process.pid, group.held)
    seconds: list[float] = []
    found: list[int] = []
    ending = False
    try:
        while not ending:
            if seconds:
                ending = bool(select.select([sys.stdin], [], [], EVERY)[0])
            begun = time.monotonic()
            written = tracker.round()
            seconds.append(time.monotonic() - begun)
            found.append(
                sum(int((w.runs[:, 1] - w.runs[:, 0]).sum()) for w in written if len(w.runs))
            )
            if tracker.untracked:
                why = "; ".join(tracker.untracked.values())
                raise BenchImpossible("a process of the load can't be tracked", cause=why)
            if len(seconds) == 1:
                print("tracking", flush=True)
    finally:
        tracker.close()
    return {"seconds": seconds, "bytes": found}


if __name__ == "__main__":
    print(json.dumps(track(Paths.from_environment(), sys.argv[1])))
