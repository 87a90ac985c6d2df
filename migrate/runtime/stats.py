"""What containers use, from two looks at them: the use of cpu is a share of the time between."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.usage import Usage, usage_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import status_of

LIVING = {"running", "paused"}


@dataclass(frozen=True)
class Sample:
    """One look at a container that lives; `at` in seconds of the monotonic clock.

    `received` and `sent` are bytes of its own network; None where it has the host's.
    """

    record: Record
    status: str
    at: float
    usage: Usage
    received: int | None
    sent: int | None

    def cpu_percent(self, before: Sample | None) -> float | None:
        """Per cent of one core since `before`; None where that can't be told."""
        if before is None or self.at <= before.at:
            return None
        now, then = self.usage.cpu_seconds, before.usage.cpu_seconds
        if now is None or then is None or now < then:  # it was started anew meanwhile
            return None
        return 100 * (now - then) / (self.at - before.at)


def look(paths: Paths, record: Record) -> Sample | None:
    """A look at the container now; None when it does not live."""
    status = status_of(paths, record)
    if status.word not in LIVING:
        return None
    received, sent = None, None
    if record.network.driver != "host":
        received, sent = _network(status.pid)
    usage = usage_of(ControlGroup.of(record.identifier))
    return Sample(record, status.word, time.monotonic(), usage, received, sent)


def _network(pid: int) -> tuple[int | None, int | None]:
    """Bytes in and out by all interfaces but the loopback (proc_pid_net(5), /proc/PID/net/dev)."""
    received = sent = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
            name, _, counters = line.partition(":")
            if name.strip() != "lo":
                fields = counters.split()
                received += int(fields[0])
                sent += int(fields[8])
        return received, sent
    return None, None
