"""The processes that a page server serves, and what a journal's record does to them.

The same function follows events as they come and repeats them after a server was killed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from migrate.criu.lazypages.journal import ADD, CLOSED, CLOSING, HUNG_UP, Record, Saved
from migrate.criu.lazypages.spaces import AddressSpace, Run
from migrate.kernel.userfault_fill import FORK, REMAP, REMOVE, UNMAP, parse

_ADDED = struct.Struct("=iqq")


@dataclass
class Task:
    """One address space; `content` and `present` are the descriptors of its pages and their list.

    A child that was forked here shares them with its parent.
    """

    uffd: int
    pid: int
    content: int
    present: int
    space: AddressSpace
    waiting: set[int] = field(default_factory=set)  # addresses of pages that were asked for
    owed: set[int] = field(default_factory=set)  # the same, of pages that are on another host
    walk: int = 0  # below this, nothing is left but what is on another host
    cursor: int = 0  # the background goes on here
    limit: int = 0  # bytes at a time; 0 is the server's own
    closing: bool = False

    def saved(self) -> Saved:
        """The form in a snapshot."""
        return Saved(self.uffd, self.pid, self.content, self.present, self.space.runs)


Tasks = dict[int, Task]
"""By userfaultfd."""


def added(pid: int, content: int, present: int) -> bytes:
    """The payload of an ADD record."""
    return _ADDED.pack(pid, content, present)


def added_pid(record: Record) -> int:
    """The pid that an ADD record is about."""
    pid: int = _ADDED.unpack_from(record.message, 8)[0]
    return pid


def apply(tasks: Tasks, record: Record, load: Callable[[int, int], list[Run]]) -> list[Run]:
    """Follow one record; the contents that its process needs no more.

    `load(content, present)` reads the runs of an added process. Raises ValueError.
    """
    source, message = record
    event = message[0]
    if event == ADD:
        pid, content, present = _ADDED.unpack_from(message, 8)
        tasks[source] = Task(source, pid, content, present, AddressSpace(load(content, present)))
        return []
    if event in {CLOSED, HUNG_UP}:
        tasks.pop(source, None)
        return []
    task = tasks[source]
    if event == CLOSING:
        task.closing = True
        return []
    told = parse(message)
    if event == FORK:
        child = Task(told.first, task.pid, task.content, task.present, task.space.copy())
        tasks[told.first] = child
    elif event == REMAP:
        return task.space.move(told.first, told.second, told.third)
    elif event in {REMOVE, UNMAP}:
        # Emptied by madvise(2), it reads as zeros from now on; that is what is not in the space.
        return task.space.cut(told.first, told.second)
    return []
