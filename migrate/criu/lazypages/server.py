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
from migrate.criu.lazypages.awaited import ARRIVED, ASK_AGAIN, AWAITED, Awaited
from migrate.criu.lazypages.background import MEMORY_RETRY, Background
from migrate.criu.lazypages.connection import Connection
from migrate.criu.lazypages.journal import ADD, CLOSED, CLOSING, HUNG_UP, Journal, Record
from migrate.criu.lazypages.spaces import AddressSpace, Run
from migrate.criu.lazypages.tasks import Task, Tasks, added, added_pid, apply
from migrate.kernel import userfault_fill as uf
from migrate.kernel.scheduling import run_at_once
from migrate.kernel.userfault_fill import PAGE

BEGIN_ANYWAY = 5.0  # seconds after the restore's end, should nobody say "begin"
RETRY = 0.0002  # seconds until a changing address space is tried again
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
        self.awaited = Awaited(launch["directory"])
        self.background = Background(
            self.tasks, self.filler, self.awaited, launch.get("rate", 0),
            self._end, self._listen, lambda size: self.journal.count("stranded", size),
        )  # fmt: skip
        self._poll = select.poll()
        self._told = 0.0
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
            self._fill()
            self._tell()
        self._tell(last=True)
        self.awaited.close()
        self.connection.close()

    def _take_over(self) -> None:
        """Where a killed server stopped: repeat the journal, and let who waits ask again."""
        unread: set[int] = set()
        last_added = self._repeat_journal(unread)
        for task in list(self.tasks.values()):
            if task.content in unread:
                raise protocol.StoreBad(f"the pages of process {task.pid} can't be read again")
            if task.closing:
                self._close_now(task)
                continue
            self._expect(task)
            self._watch(task)
            uf.wake_all(task.uffd)
        if added_late := self.connection.take_over(set(self.tasks), last_added):
            self._add(*added_late)
        if self.journal.finished:
            self._on_finished()

    def _repeat_journal(self, unread: set[int]) -> int:
        """Fill `tasks`, and `unread` with contents that can't be read again.

        Returns the pid of the process that was added last, since CRIU connected.
        """

        def load(content: int, present: int) -> list[Run]:
            """The files of a process that has been closed may be closed, too."""
            unread.discard(content)
            try:
                return self._load(content, present)
            except (OSError, protocol.StoreBad):
                unread.add(content)
                return []

        for saved in self.journal.saved():
            self.tasks[saved.uffd] = Task(*saved[:-1], AddressSpace(saved.runs))
        last_added = 0
        for record in self.journal.records():
            event = record.message[0]
            if event in {ADD, HUNG_UP}:
                last_added = added_pid(record) if event == ADD else 0
            closed = self.tasks.get(record.source) if event == CLOSED else None
            apply(self.tasks, record, load)
            if closed and not self._sharing(closed):
                self._unlink_files(closed)
        return last_added

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
        if self._may_step():
            return 0 if self._alone else max(0.0, self.background.not_before - now)
        if self.awaited.asking:
            return ASK_AGAIN
        if self._begin_at and not self.journal.begun:
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
        elif descriptor == self.awaited.descriptor:
            self._on_news()
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
        self._expect(self.tasks[uffd])
        self._watch(self.tasks[uffd])

    def _expect(self, task: Task) -> None:
        """What this process lacks may still be on another host."""
        before = self.awaited.descriptor
        size = os.fstat(task.content).st_size
        self.background.take(self.awaited.expect(task.pid, size))
        if self.awaited.descriptor != before:
            self._poll.register(self.awaited.descriptor, select.POLLIN)
            run_at_once(share=False)  # a step of a longer way; the fill is no more urgent

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
        _ask_anew(task)
        if raw[0] == uf.FORK:
            self._watch(self.tasks[uf.parse(raw).first])
        if self.journal.is_long:
            self.journal.snapshot(one.saved() for one in self.tasks.values())

    def _answer_all(self) -> None:
        for task in list(self.tasks.values()):
            while task.waiting:
                address = task.waiting.pop()
                if self._is_owed(task, address):
                    continue
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

    def _is_owed(self, task: Task, address: int) -> bool:
        """Whether that page is on another host: it is asked for then."""
        page = task.space.piece(address, 0, PAGE)
        if page is None or self.awaited.here(task.pid, page.offset, PAGE):
            return False
        task.owed.add(address)
        self.awaited.ask(task.pid, page.offset)
        if self.journal.finished:
            self.journal.begin()
        return True

    def _asked_for(self, task: Task, address: int) -> None:
        """A process that asks runs: the rest may follow, from here on first."""
        self.background.recent, task.cursor = task, address
        self.filler.around(task, address, self.awaited.here)
        if self.journal.finished:
            self.journal.begin()
        self._close_if_done(task)

    def _fill(self) -> None:
        """One step of the fill, if it is time."""
        now = time.monotonic()
        if self._begin_at and now >= self._begin_at:
            self.journal.begin()
        if self.awaited.asking:
            self.awaited.ask_again()
        if self._may_step() and (self._alone or now >= self.background.not_before):
            self.background.step()

    def _may_step(self) -> bool:
        """What has come goes in place before the thaw, too, once the restore is at its end."""
        if self.filling:
            return self.background.has_work
        return self.journal.finished and self.background.has_arrived

    def _on_news(self) -> None:
        """Pages have come: who waits for one is answered, the others are placed."""
        arrivals = self.awaited.news()
        self.background.take(arrivals)
        self.awaited.ask_again()
        arrived = {arrival.pid for arrival in arrivals}
        for task in self.tasks.values():
            if task.pid in arrived:
                _ask_anew(task)

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
        sharing = self._sharing(task)
        if len(sharing) == 1:
            filler.give_back_others(task.content, filler.still_needed(sharing))
        elif not sharing:
            self.awaited.forget(task.pid)
            self._unlink_files(task)
            for descriptor in (task.content, task.present):
                with contextlib.suppress(OSError):  # closed already, before a kill
                    os.close(descriptor)

    def _sharing(self, task: Task) -> list[Task]:
        """Who needs the same contents: the task itself, as long as it is served, and its forks."""
        return [other for other in self.tasks.values() if other.content == task.content]

    def _unlink_files(self, task: Task) -> None:
        """Nobody needs these pages any more."""
        for ending in ("", ".present", AWAITED, ARRIVED):
            with contextlib.suppress(OSError):  # gone already, before a kill or by the owner
                os.unlink(f"{task.pid}{ending}", dir_fd=self.launch["directory"])

    def _needless(self, task: Task, runs: list[Run]) -> None:
        if len(self._sharing(task)) == 1:
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
        told |= {"processes": len(self.tasks), "awaited": self.awaited.remaining}
        text = json.dumps(told)
        os.pwrite(self.launch["filling"], text.ljust(511).encode() + b"\n", 0)


def _ask_anew(task: Task) -> None:
    """Who waits for a page on another host: it may have come, or be at another address now."""
    task.waiting |= task.owed
    task.owed.clear()


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
