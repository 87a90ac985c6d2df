"""Waits for changes in the life of containers: inotify on records, pidfds, control groups.

Nothing is polled and nobody has to be told: what the commands and the monitors write anyway is
watched, and of the control groups the freezer's state, and the kernel's notice that it had to kill
(cgroup-v2.rst, memory.events; cgroup-v1/memory.rst 9 and 10, by an eventfd).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Iterator

from migrate.kernel import inotify
from migrate.kernel.processes import pidfd_open
from migrate.runtime.cgroups.counters import directory_of
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout, detect
from migrate.runtime.cgroups.outofmemory import COUNT_DUE, LOOK_AGAIN, eventfd_of
from migrate.runtime.life import Event, Portrait, changes, portraits
from migrate.runtime.paths import Paths

_RECORDS = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE | inotify.IN_CLOSE_WRITE


class Watcher:
    """Sees to what happens from its making on; a context manager."""

    def __init__(self, paths: Paths) -> None:
        """Raises OSError."""
        self._paths = paths
        self._layout: Layout = detect()
        self._selector = selectors.DefaultSelector()
        self._held: dict[str, tuple[tuple[int, int], list[int]]] = {}
        paths.make()
        self._watches = inotify.Watches()
        self._selector.register(self._watches.descriptor, selectors.EVENT_READ)
        for base in (paths.state, paths.run):
            self._watches.add(str(base / "containers"), _RECORDS)
        self.seen = self._look()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        for identifier in list(self._held):
            self._let_go(identifier)
        self._selector.close()
        self._watches.__exit__()

    def events(self) -> Iterator[Event]:
        """What happens, for ever; raises SpecInvalid when a record can't be read."""
        count_due = 0.0  # until when the kernel may count a kill that it has told of
        while True:
            # All that waits is taken up before the look: what comes after it wakes us again.
            again = LOOK_AGAIN if time.monotonic() < count_due else None
            for key, _mask in self._selector.select(again):
                if key.fd == self._watches.descriptor:
                    self._watches.clear()
                elif key.data is None:  # a pidfd stays readable
                    self._selector.unregister(key.fd)
                else:
                    count_due = time.monotonic() + COUNT_DUE
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(key.fd)
            before, self.seen = self.seen, self._look()
            found = [
                event for identifier in {**before, **self.seen}
                for event in changes(before.get(identifier), self.seen.get(identifier))
            ]  # fmt: skip
            yield from sorted(found, key=lambda event: event.at)

    def _look(self) -> dict[str, Portrait]:
        """Watch what is new, and look until no look brought a new thing to watch."""
        while True:
            found = portraits(self._paths, self._layout)
            if not sum(self._watch(portrait) for portrait in found.values()):
                break
        for identifier in set(self._held) - set(found):
            self._let_go(identifier)
        return found

    def _watch(self, found: Portrait) -> bool:
        """Whether something of this container was not watched yet."""
        identifier = found.record.identifier
        own = self._paths.container(identifier)
        new = [self._watches.add(str(place), _RECORDS) for place in (own.state, own.run)]
        process = found.process
        if process is None or not found.alive:
            self._let_go(identifier)
            return any(new)
        group = ControlGroup(identifier, self._layout)
        new.append(self._watches.add(str(self._freezer(group)), inotify.IN_MODIFY))
        if "memory" not in self._layout.v1 and (place := directory_of(group, "memory")):
            new.append(self._watches.add(str(place / "memory.events"), inotify.IN_MODIFY))
        identity = (process.pid, process.start_time)
        if self._held.get(identifier, ((0, 0), []))[0] != identity:
            self._let_go(identifier)
            self._held[identifier] = (identity, list(self._hold(process.pid, group)))
            new.append(True)
        return any(new)

    def _freezer(self, group: ControlGroup) -> str:
        version_1 = self._layout.freezer_version == 1
        return str(group.freezer / ("freezer.state" if version_1 else "cgroup.freeze"))

    def _hold(self, pid: int, group: ControlGroup) -> Iterator[int]:
        """Descriptors that tell of init's end, and (version 1) of memory that ran out."""
        with contextlib.suppress(OSError):
            descriptor = pidfd_open(pid)
            self._selector.register(descriptor, selectors.EVENT_READ, None)
            yield descriptor
        if "memory" in self._layout.v1 and (place := directory_of(group, "memory")):
            with contextlib.suppress(OSError):
                yield self._out_of_memory(str(place))

    def _out_of_memory(self, directory: str) -> int:
        notice = eventfd_of(directory)
        self._selector.register(notice, selectors.EVENT_READ, "oom")
        return notice

    def _let_go(self, identifier: str) -> None:
        for descriptor in self._held.pop(identifier, ((0, 0), []))[1]:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            os.close(descriptor)
