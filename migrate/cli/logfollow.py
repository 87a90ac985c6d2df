"""Waits until a container's log may have grown, or the container have ended: nothing is polled."""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING

from migrate.kernel import inotify
from migrate.kernel.processes import pidfd_open

if TYPE_CHECKING:
    from migrate.runtime.paths import ContainerPaths
    from migrate.runtime.records import Process

_CHANGES = (
    inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_CLOSE_WRITE
    | inotify.IN_DELETE
)  # fmt: skip


class Waiting:
    """Of one container; a context manager. What happens from its making on ends a `wait`."""

    def __init__(self, own: ContainerPaths) -> None:
        """Raises OSError."""
        self._watches = inotify.Watches()
        self._places = {str(own.log.parent), str(own.run)}

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self._watches.__exit__()

    def ready(self) -> None:
        """What happened before is looked at now."""
        for place in self._places:
            self._watches.add(place, _CHANGES)
        self._watches.clear()

    def wait(self, process: Process) -> None:
        """Until something happens after `ready`."""
        with contextlib.ExitStack() as stack:
            watched = [self._watches.descriptor]
            for pid, lives in ((process.pid, process.alive), (process.monitor, process.monitored)):
                if lives:
                    with contextlib.suppress(OSError):  # it has just ended
                        watched.append(pidfd_open(pid))
                        stack.callback(os.close, watched[-1])
                        continue
                    return
            select.select(watched, [], [])
