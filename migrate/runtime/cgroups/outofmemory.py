"""The kernel's notice that it had to kill in a group: a descriptor that becomes readable."""

from __future__ import annotations

import contextlib
import os

from migrate.kernel import inotify
from migrate.runtime.cgroups.counters import directory_of
from migrate.runtime.cgroups.group import ControlGroup

COUNT_DUE, LOOK_AGAIN = 2.0, 0.05
"""Seconds. Version 1 gives notice before it kills (mm/memcontrol-v1.c, memcg1_oom_prepare), and
counts the kill later, by as much as its log takes: for so long it is looked at so often."""


def eventfd_of(directory: str) -> int:
    """Version 1: an eventfd (cgroup-v1/memory.rst, 9 and 10); raises OSError."""
    notice = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(f"{directory}/cgroup.event_control", "w") as file:  # noqa: PTH123  not created
                file.write(f"{notice} {control}")
        finally:
            os.close(control)
    except OSError:
        os.close(notice)
        raise
    return notice


class Notices:
    """Those of one group, of either version; a context manager. No descriptor: nobody tells."""

    def __init__(self, group: ControlGroup) -> None:
        self._watches = inotify.Watches()
        self._eventfd = -1
        self.descriptor: int | None = None
        place = directory_of(group, "memory")
        with contextlib.suppress(OSError):
            if place and "memory" in group.layout.v1:
                self.descriptor = self._eventfd = eventfd_of(str(place))
            elif place:  # cgroup-v2.rst: memory.events is told as modified
                self._watches.add(str(place / "memory.events"), inotify.IN_MODIFY)
                self.descriptor = self._watches.descriptor

    def __enter__(self) -> Notices:
        return self

    def __exit__(self, *_: object) -> None:
        self._watches.__exit__()
        if self._eventfd >= 0:
            os.close(self._eventfd)

    def take(self) -> None:
        """Take up what was told, so that the descriptor waits for more."""
        if self._eventfd >= 0:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._eventfd)
        else:
            self._watches.clear()
