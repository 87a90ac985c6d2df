"""A container's life as its records and its control group tell it, and what changes in it.

`portrait` looks; `changes` compares two looks and says what happened between them. Nothing is
written anywhere for this: who was not looking learns only what the last records still say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.cgroups.usage import oom_kills
from migrate.runtime.control import exit_status
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Process, Record, load_all, load_process


@dataclass(frozen=True)
class Event:
    """One thing that happened; `at` in seconds since the epoch, `told` what more is known."""

    at: float
    kind: str
    name: str
    identifier: str
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Portrait:
    """One look at a container.

    `started` is when init's identity was last written with the mark that it runs, `ended` when its
    exit status was (seconds since the epoch, 0 if it was not); `status` is None where nobody wrote
    it down.
    """

    record: Record
    process: Process | None
    alive: bool
    started: float
    ended: float
    status: int | None
    frozen: bool
    oom_kills: int

    @property
    def over(self) -> bool:
        """Whether it has run, and runs no more.

        A short program's end can be written down before its start is.
        """
        started = self.process is not None and self.process.started
        return started and (bool(self.ended) or not self.alive)


def portraits(paths: Paths, layout: Layout) -> dict[str, Portrait]:
    """All containers of the host, by identifier; raises SpecInvalid."""
    return {record.identifier: portrait(paths, record, layout) for record in load_all(paths)}


def portrait(paths: Paths, record: Record, layout: Layout) -> Portrait:
    """A look at one container."""
    own = paths.container(record.identifier)
    group = ControlGroup(record.identifier, layout)
    process = load_process(own)
    # Before the exit status is read: what ends after that is seen to live, and looked at again.
    alive = process is not None and (process.alive or process.monitored)
    started = _changed(own, "process") if process and process.started else 0.0
    ended = _changed(own, "exit")
    return Portrait(
        record, process, alive, started, ended, exit_status(own) if ended else None,
        group.frozen if alive else False, oom_kills(group),
    )  # fmt: skip


def _changed(own: ContainerPaths, name: str) -> float:
    with contextlib.suppress(OSError):
        return float(getattr(own, name).stat().st_mtime)
    return 0.0


def remembered(found: Portrait, since: float) -> list[Event]:
    """What the records still say of the time from `since` on, oldest first."""
    record = found.record
    events = [_event(found, "created", record.created, image=record.image or record.rootfs)]
    if found.started:
        events.append(_started(found))
    if found.ended:
        at = max(found.ended, found.started)
        events.append(_event(found, "exited", at, status=found.status))
    return sorted((e for e in events if e.at >= since), key=lambda event: event.at)


def changes(before: Portrait | None, after: Portrait | None) -> Iterator[Event]:
    """What happened between two looks at one container, in the order in which it must have."""
    if after is None:
        if before is not None:
            if before.alive and before.process and before.process.started:
                yield _event(before, "exited", time.time(), status=None)
            yield _event(before, "removed", time.time())
        return
    if before is None:
        record = after.record
        yield _event(after, "created", record.created, image=record.image or record.rootfs)
    else:
        yield from _record_changes(before, after)
    if _runs_anew(before, after):
        yield _started(after)
        before = None
    yield from _running_changes(before, after)


def _record_changes(before: Portrait, after: Portrait) -> Iterator[Event]:
    old, new, now = before.record, after.record, time.time()
    if old.name != new.name:
        yield _event(after, "renamed", now, old_name=old.name)
    if old.resources != new.resources:
        limits = {k: v for k, v in msgspec.to_builtins(new.resources).items() if v}
        yield _event(after, "updated", now, **limits)
    if new.held and not old.held:
        yield _event(after, "held", now, move=new.held)
    if new.moved_to and not old.moved_to:
        yield _event(after, "moved", now, to=new.moved_to)
    elif old.held and not new.held:
        yield _event(after, "released", now)


def _runs_anew(before: Portrait | None, after: Portrait) -> bool:
    if not after.started or after.process is None:
        return False
    if before is None or before.process is None or not before.process.started:
        return True
    old, new = before.process, after.process
    return (old.pid, old.start_time, old.boot) != (new.pid, new.start_time, new.boot)


def _running_changes(before: Portrait | None, after: Portrait) -> Iterator[Event]:
    """Of one run of its processes; `before` is None at its beginning."""
    now = time.time()
    kills = after.oom_kills - (before.oom_kills if before else 0)
    if kills > 0:
        yield _event(after, "oom", now, processes_killed=kills)
    was_frozen = before.frozen if before else False
    if after.frozen != was_frozen and after.alive:
        yield _event(after, "paused" if after.frozen else "resumed", now)
    if after.over and not (before and before.over and before.ended == after.ended):
        at = max(after.ended, after.started) if after.ended else now
        yield _event(after, "exited", at, status=after.status)


def _started(found: Portrait) -> Event:
    assert found.process
    restored = {"restored_from": found.process.restored_from} if found.process.restored_from else {}
    kind = "restored" if restored else "started"
    return _event(found, kind, found.started, pid=found.process.pid, **restored)


def _event(found: Portrait, kind: str, at: float, **told: Any) -> Event:
    return Event(at, kind, found.record.name, found.record.identifier, told)
