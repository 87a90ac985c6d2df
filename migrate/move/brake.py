"""Slowing a container that writes memory faster than it can be sent (`--auto-converge`).

Its share of the processors is cut in steps, by the quota of its control group, and given back when
it is frozen or the move is off. What it uses counts, not what it may use.
"""

from __future__ import annotations

import contextlib
import time

from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import CgroupFailed

FACTOR = 0.5
LEAST = 0.01
"""Cores; the least quota that the kernel takes is 1 ms in a period of 100 ms."""


class Brake:
    """The quota of one container; `usual` is its own limit in cores, 0 for none."""

    def __init__(self, group: ControlGroup, usual: float) -> None:
        self._group = group
        self._usual = usual
        self._cores = 0.0  # what it is slowed to, 0 for not at all
        self._seen = (time.monotonic(), group.cpu_seconds())

    def tighten(self) -> float:
        """Halve what it has used since the last call; the cores left, 0 if it can't be less.

        Raises CgroupFailed.
        """
        now = time.monotonic(), self._group.cpu_seconds()
        used = (now[1] - self._seen[1]) / max(now[0] - self._seen[0], 1e-3)
        self._seen = now
        cores = (min(used, self._cores) if self._cores else used) * FACTOR
        if cores < LEAST:
            return 0.0
        self._group.set_cpus(cores)
        self._cores = cores
        return cores

    def release(self) -> None:
        """Give back what it had; safe to repeat."""
        if self._cores:
            give_back(self._group, self._usual)
            self._cores = 0.0


def give_back(group: ControlGroup, usual: float) -> None:
    """The container's own limit again, whatever it was slowed to; `usual` as for Brake."""
    with contextlib.suppress(CgroupFailed):  # gone, or a host without the controller
        group.set_cpus(usual or None)
