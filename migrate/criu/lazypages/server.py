"""The page server: answers `criu restore`, then the faults of what it restored, and fills the rest.

It runs as a child of the container's monitor with which it shares the table of descriptors
(`migrate.runtime.pagekeeper`), and can be killed at any instruction: its successor repeats the
journal and goes on with the same descriptors. A userfaultfd that were closed too early would turn
missing pages into zeros; so none is closed before its process has everything, or has ended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import stat
import sys
import time
from typing import Any

from migrate.criu.lazypages import filler, protocol
from migrate.criu.lazypages.connection import Connection
from migrate.criu.lazypages.journal import ADD, CLOSED, CLOSING, Journal, Record
from migrate.criu.lazypages.spaces import AddressSpace, Run
from migrate.criu.lazypages.tasks import Task, Tasks, added, apply
from migrate.kernel import userfault_fill as uf
from migrate.kernel.userfault_fill import PAGE

BEGIN_ANYWAY = 5.0  # seconds after the restore's end, should nobody say "begin"
RETRY = 0.0002  # seconds until a changing address space is tried again
MEMORY_RETRY = 0.05  # seconds, while the container is at its memory limit
TELL_EVERY = 0.1  # seconds between two writings of the progress
REFUSED = 3
"""Exit status: the store is bad, and a next server could do no better."""


class Server:
    """One server. `launch` names its descriptors, and may limit its `rate` (bytes a second).

    The descriptors: `directory` (the store), `listener`, `begin` (readable: begin), `state` (the
    journal), `life` (a pidfd of the monitor), `filling` (the progress file).
    """

    def __init__(self, launch: dict[str, Any]) -> None:
        self.launch = launch
        self.journal = Journal(launch["state"])
        self.tasks: Tasks = {}
        self.filler = filler.Filler(self._needless)
        self.recent: Task | None = None
        self._poll = select.poll()
        self._not_before = self._told = 0.0
        self._begin_at = 0.0
        self._alone = False
        self.connection = Connection(launch["listener"], self.journal)

    def run(self) -> None:
        """Serve to the end; raises StoreBad, OSError."""
        self._take_over()
        for descriptor in (self.launch["begin"], self.launch["life"], *self.connection.polled()):
            self._poll.register(descriptor, select.POLLIN)
        while not self._at_end():
            for descriptor, _events in self._poll.poll(self._patience() * 1000):
                self._on_ready(descriptor)
            self._answer_all()
            self._background()
            self._tell()
        self._tell(last=True)
        self.connection.close()

    def _take_over(self) -> None:
        """Where a killed server stopped: repeat the journal, and let who waits ask again."""
        for saved in self.journal.saved():
            self.tasks[saved.uffd] = Task(*saved[:-1], AddressSpace(saved.runs))
        unread: set[int] = set()

        def load(content: int, present: int) -> list[Run]:
            """The files of a process that has been closed may be closed, too."""
            unread.discard(content)
            try:
                return self._load(content, present)
            except (OSError, protocol.StoreBad):
                unread.add(content)
                return []

        for record in self.journal.records():
            apply(self.tasks, record, load)
        for task in list(self.tasks.values()):
            if task.content in unread:
                raise protocol.StoreBad(f"the pages of process {task.pid} can't be read again")
            if task.closing:
                self._close_now(task)
                continue
            self._watch(task)
            uf.wake_all(task.uffd)
        if added_late := self.connection.take_over(set(self.tasks)):
            self._add(*added_late)
        if self.journal.finished:
            self._on_finished()

    def _on_finished(self) -> None:
        self._begin_at = time.monotonic() + BEGIN_ANYWAY
        for task in list(self.tasks.values()):
            self._close_if_done(task)

    def _at_end(self) -> bool:
        if self._alone and not self.connection.connected:
            self.journal.finish()  # nobody is left who could say so
        return self.journal.finished and not self.tasks

    def _patience(self) -> float:
        """Seconds to wait for something to happen."""
        if any(task.waiting for task in self.tasks.values()):
            time.sleep(RETRY)
            return 0
        now = time.monotonic()
        if self.filling:
            return 0 if self._alone else max(0.0, self._not_before - now)
        if self._begin_at:
            return max(0.0, self._begin_at - now)
        return 3600

    @property
    def filling(self) -> bool:
        """Whether the background fill is under way."""
        return self.journal.begun and self.journal.finished and bool(self.tasks)

    def _on_ready(self, descriptor: int) -> None:
        if descriptor == self.launch["begin"]:
            self._poll.unregister(descriptor)
            self.journal.begin()
        elif descriptor == self.launch["life"]:
            self._poll.unregister(descriptor)
            self._alone = True  # the container has ended, or its monitor was killed
            self.journal.begin()
        elif task := self.tasks.get(descriptor):
            self._listen(task)
        elif self.connection.owns(descriptor):
            self._on_criu(descriptor)

    def _on_criu(self, descriptor: int) -> None:
        before = self.connection.polled()
        told = self.connection.receive(descriptor)
        for old in set(before) - set(self.connection.polled()):
            self._poll.unregister(old)
        for new in set(self.connection.polled()) - set(before):
            self._poll.register(new, select.POLLIN)
        if told:
            self._add(*told)
        if self.journal.finished:
            self._on_finished()

    def _add(self, pid: int, uffd: int) -> None:
        """A process of the restore. Its descriptors are written down before CRIU's word is."""
        directory = self.launch["directory"]
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            content = os.open(f"{pid}", os.O_RDWR | flags, dir_fd=directory)
            present = os.open(f"{pid}.present", os.O_RDONLY | flags, dir_fd=directory)
        except FileNotFoundError as error:
            raise protocol.StoreBad(f"there are no pages of process {pid}") from error
        if not all(stat.S_ISREG(os.fstat(opened).st_mode) for opened in (content, present)):
            raise protocol.StoreBad(f"the pages of process {pid} are no files")
        self._load(content, present)  # a bad store must not get into the journal
        record = self.journal.append(uffd, ADD, added(pid, content, present))
        self.connection.done()
        apply(self.tasks, record, self._load)
        self._watch(self.tasks[uffd])

    @staticmethod
    def _load(content: int, present: int) -> list[Run]:
        return protocol.read_present(present, os.fstat(content).st_size)

    def _watch(self, task: Task) -> None:
        self._poll.register(task.uffd, select.POLLIN)

    def _listen(self, task: Task) -> None:
        """Read all that a process has to say; faults are answered when its events are known."""
        try:
            while raw := self.journal.receive(task.uffd):
                if raw[0] == uf.FAULT:
                    task.waiting.add(uf.parse(raw).first & ~(PAGE - 1))
                else:
                    self._follow(task, raw)
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                raise
            time.sleep(MEMORY_RETRY)

    def _follow(self, task: Task, raw: bytes) -> None:
        self._needless(task, apply(self.tasks, Record(task.uffd, raw), self._load))
        if raw[0] == uf.FORK:
            self._watch(self.tasks[uf.parse(raw).first])
        if self.journal.is_long:
            self.journal.snapshot(one.saved() for one in self.tasks.values())

    def _answer_all(self) -> None:
        for task in list(self.tasks.values()):
            while task.waiting:
                address = task.waiting.pop()
                error, was_zero = self.filler.answer(task, address)
                if error == errno.ESRCH:
                    self._end(task)
                    break
                if error:
                    task.waiting.add(address)
                    self._listen(task)
                    break
                self.journal.count("faults", 1)
                self.journal.count("zero_faults", int(was_zero))
                self._asked_for(task, address)

    def _asked_for(self, task: Task, address: int) -> None:
        """A process that asks runs: the rest may follow, from here on first."""
        self.recent, task.cursor = task, address
        self.filler.around(task, address)
        if self.journal.finished:
            self.journal.begin()
        self._close_if_done(task)

    def _background(self) -> None:
        """One step of the fill."""
        now = time.monotonic()
        if self._begin_at and now >= self._begin_at:
            self.journal.begin()
        if not self.filling or (now < self._not_before and not self._alone):
            return
        if self.recent is None or self.recent.uffd not in self.tasks:
            self.recent = next(iter(self.tasks.values()))
        task = self.recent
        piece = task.space.next_piece(task.cursor, task.limit or filler.CHUNK)
        if piece is None:
            self._close_if_done(task)
            return
        before = task.space.remaining
        error = self.filler.put(task, piece)
        task.limit = 0 if not error else task.limit
        task.cursor = piece.end
        if rate := self.launch.get("rate"):
            self._not_before = now + (before - task.space.remaining) / rate
        if error:
            self._hindered(task, piece, error)
        self._close_if_done(task)

    def _hindered(self, task: Task, piece: Run, error: int) -> None:
        """What stopped a step: `piece` may be filled in part."""
        task.cursor = piece.start
        if error == errno.ESRCH:
            self._end(task)
        elif error == errno.EAGAIN:
            self._listen(task)
        elif error == errno.ENOMEM:
            self._not_before = time.monotonic() + MEMORY_RETRY
        else:
            self._stranded(task, piece)

    def _stranded(self, task: Task, piece: Run) -> None:
        """ENOENT: a range that crosses a border, or a page in no region that may be filled.

        A region that is just moving answers the same once, and EAGAIN from then on, until its
        message is read (Linux, fs/userfaultfd.c, userfaultfd_copy, looks for that before it looks
        for the region): what answers ENOENT twice is not there.
        """
        rest = task.space.next_piece(piece.start, piece.end - piece.start)
        if rest is None or rest.start >= piece.end:
            return
        page = rest._replace(end=rest.start + PAGE)
        error = self.filler.put(task, page)
        if not error:
            task.cursor = page.end
            task.limit = max(PAGE, (task.limit or filler.CHUNK) // 2 // PAGE * PAGE)
        elif error == errno.ENOENT and self.filler.put(task, page) == errno.ENOENT:
            self._needless(task, task.space.cut(page.start, page.end))
            self.journal.count("stranded", PAGE)
            task.limit = PAGE

    def _close_if_done(self, task: Task) -> None:
        if self.journal.finished and not task.space.runs and not task.waiting:
            self._end(task)

    def _end(self, task: Task) -> None:
        """All is there, or the process has ended: closing unregisters, and wakes who waits."""
        if task.uffd not in self.tasks:
            return
        remaining = task.space.runs
        task.space = AddressSpace()
        self._needless(task, remaining)
        self._poll.unregister(task.uffd)
        self.journal.append(task.uffd, CLOSING)
        self._close_now(task)

    def _close_now(self, task: Task) -> None:
        if is_userfaultfd(task.uffd):  # else it was closed already, before a kill
            os.close(task.uffd)
        apply(self.tasks, self.journal.append(task.uffd, CLOSED), self._load)
        sharing = [other for other in self.tasks.values() if other.content == task.content]
        if len(sharing) == 1:
            filler.give_back_others(task.content, filler.still_needed(sharing))
        elif not sharing:
            self._drop_files(task)

    def _drop_files(self, task: Task) -> None:
        """Nobody needs these pages any more."""
        for descriptor, name in (
            (task.content, f"{task.pid}"),
            (task.present, f"{task.pid}.present"),
        ):
            with contextlib.suppress(OSError):  # gone already, before a kill or by the owner
                os.unlink(name, dir_fd=self.launch["directory"])
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _needless(self, task: Task, runs: list[Run]) -> None:
        if sum(other.content == task.content for other in self.tasks.values()) == 1:
            filler.give_back(task.content, runs)

    def _tell(self, *, last: bool = False) -> None:
        """Write the progress, of the same length each time.

        After a kill it counts as missing again what the kernel will know to be there.
        """
        now = time.monotonic()
        if now - self._told < TELL_EVERY and not last:
            return
        self._told = now
        self.journal.count("filled", self.filler.copied)
        self.filler.copied = 0
        told = self.journal.counters()
        told["total"] = told["filled"] + sum(t.space.remaining for t in self.tasks.values())
        text = json.dumps(told | {"processes": len(self.tasks)})
        os.pwrite(self.launch["filling"], text.ljust(511).encode() + b"\n", 0)


def is_userfaultfd(descriptor: int) -> bool:
    """Whether this number is (still) a userfaultfd."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[userfaultfd]"  # noqa: PTH115
    return False


def serve(launch: dict[str, Any], restarts: int) -> int:
    """The exit status: 0 when all is filled, REFUSED; anything else wants a next server."""
    server = Server(launch)
    server.journal.count("restarts", int(restarts > 0))
    try:
        server.run()
    except (protocol.StoreBad, ValueError) as error:
        print(f"page server: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- the monitor's log
        with contextlib.suppress(OSError):
            server.connection.refuse()
        return REFUSED
    return 0
