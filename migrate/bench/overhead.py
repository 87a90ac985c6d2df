"""overhead: the freeze time of a stop-copy move against raw `criu dump` + `criu restore`.

Workload: one process that holds 16 MiB of random text and waits. A: it moves between two test
hosts on this machine, over SSH; the figure is the freeze time that `migrate move` reports, from the
freeze to the answer to COMMIT. B: CRIU's own command line dumps and restores the same processes on
one host, nothing shipped; the figure is the wall time of the two commands. A and B take turns.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from migrate.bench import hosts
from migrate.bench.rows import machine
from migrate.bench.series import Series

MUST_HOLD = 2.0
MEMORY_MIB = 16
# base64 of 12 MiB is 16 MiB of text in one shell variable; the open of a fifo waits for ever.
WORKLOAD = (
    "x=$(busybox dd if=/dev/urandom bs=1M count=12 2>/dev/null | busybox base64 -w 0); "
    "busybox mkfifo /tmp/wait; echo ready; read y < /tmp/wait"
)


@dataclass(frozen=True)
class Outcome:
    """Both sides, and what the move's freeze time was made of (medians, seconds)."""

    move: Series
    raw: Series
    phases: dict[str, float]

    @property
    def ratio(self) -> float:
        """The move's median over raw CRIU's."""
        return self.move.median / self.raw.median

    def as_json(self) -> dict[str, Any]:
        """The result with the machine it was taken on."""
        return {
            "benchmark": "overhead", "memory_mib": MEMORY_MIB, "move": self.move.as_json(),
            "raw": self.raw.as_json(), "ratio": self.ratio, "must_hold": MUST_HOLD,
            "phases": self.phases, **machine(),
        }  # fmt: skip


def run(runs: int, report: Callable[[str], None]) -> Outcome:
    """Take turns for `runs` counted pairs after one that does not count."""
    library, redis = hosts.load(), hosts.load("redis")
    rootfs = hosts.load("rootfs")
    with library.Lan() as lan:
        report("making two hosts")
        pair = [lan.host("alpha"), lan.host("beta")]
        directory = rootfs.make_rootfs(lan.shared / "rootfs")
        hosts.import_directory(directory, lan.shared / "load.tar", pair, redis.MIGRATE)
        return _take_turns(pair, redis.MIGRATE, runs, report)


def _take_turns(pair: list[Any], migrate: str, runs: int, report: Callable[[str], None]) -> Outcome:
    moves, raws, phases = [], [], []
    _start(pair[0], migrate, "moved")
    for turn in range(runs + 1):
        source, target = pair[turn % 2], pair[(turn + 1) % 2]
        told = source.run(
            [migrate, "move", "--mode", "stop-copy", "moved", target.ssh_target, "--json"]
        ).stdout
        result = json.loads(told.splitlines()[-1])["result"]
        raw = _raw(pair[0], migrate)
        report(
            f"run {turn}{' (not counted)' if not turn else ''}: "
            f"move {result['freeze_seconds'] * 1000:.0f} ms, raw {raw * 1000:.0f} ms"
        )
        if turn:
            moves.append(result["freeze_seconds"])
            raws.append(raw)
            phases.append(result["freeze_phases"])
    medians = {name: statistics.median(p[name] for p in phases) for name in phases[0]}
    return Outcome(Series("move", tuple(moves)), Series("raw criu", tuple(raws)), medians)


def _start(host: Any, migrate: str, name: str) -> None:
    host.run([migrate, "run", "-d", "--name", name, hosts.IMAGE, "/bin/sh", "-c", WORKLOAD])
    wait = f"until {migrate} logs {name} | grep -q ready; do sleep 0.1; done"
    host.run(["sh", "-c", wait])


def _raw(host: Any, migrate: str) -> float:
    _start(host, migrate, "raw")
    told = host.run([sys.executable, "-m", "migrate.bench.rawcriu", "raw"]).stdout
    host.run([migrate, "rm", "-f", "raw"])
    seconds = json.loads(told)
    return float(seconds["dump"] + seconds["restore"])
