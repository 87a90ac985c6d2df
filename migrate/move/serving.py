"""Memory that follows after the thaw: the frozen copy here gives the target the pages it lacks.

Which those are the target says, each time anew, so that any `migrate` on this host can go on: the
one that moved the container, or `migrate recover` after it was killed. Pages that somebody waits
for there go first, over a connection of their own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from migrate.checkpoint.digests import by_inner_pid
from migrate.errors import DiskFull, MigrateError
from migrate.kernel.memory import read_page, read_runs
from migrate.kernel.scheduling import run_at_once
from migrate.kernel.threads import SWITCH
from migrate.move.errors import MemoryGone, PagesOwed, PeerChanged
from migrate.move.inuse import InUse
from migrate.move.journal import Entry
from migrate.move.pagestore import DIRECTORY, FIFO
from migrate.move.precedence import Precedence
from migrate.move.progress import Event, Report
from migrate.move.todo import Owed, Todo, decode
from migrate.move.transaction import Target
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.paths import Paths
from migrate.runtime.records import load_process
from migrate.transfer.bulk import BulkSender
from migrate.transfer.errors import (
    AgentIncompatible,
    AgentMissing,
    AuthenticationFailed,
    HostKeyChanged,
    HostKeyUnknown,
    ProtocolError,
)
from migrate.transfer.pagelink import PageLink
from migrate.transfer.target import Target as Address

if TYPE_CHECKING:
    import numpy

CALL_LIMIT = 120.0  # seconds
SETTLE_LIMIT = 600.0
PATIENCE = 60.0
"""Seconds without a page sent, after which it is given up, until `migrate recover`."""
LASTING = (
    DiskFull, PeerChanged, HostKeyChanged, HostKeyUnknown, AuthenticationFailed, AgentMissing,
    AgentIncompatible,
)  # fmt: skip
"""What does not pass by itself: somebody has to mend it, and has to be told."""
LOOK_EVERY = 5.0  # seconds; whether the container still runs there
EARLY = 256 << 10
"""Bytes at a time before the thaw: a page that is asked for waits for no more than that."""
EARLY_MOST = 4 << 20  # bytes: the processors have to restore at the same time
RETRY = 1.0  # seconds between two attempts

Call = Callable[..., Any]
"""The agent's `call`."""


class Serving:
    """What one container's frozen processes have, sent on demand and in the background."""

    def __init__(
        self,
        paths: Paths,
        entry: Entry,
        report: Report,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises MemoryGone when there is no frozen process here.

        `on_failure` is called when the link fails before `no_way_back`: the target may wait for a
        page then that never comes, and who asked it for something waits with it.
        """
        process = load_process(paths.container(entry.container))
        if process is None or not process.alive:
            raise _gone(entry)
        self._init = process.pid
        self._entry, self._report = entry, report
        self._look()
        self._todo = Todo()
        self._precedence = Precedence()
        self._link: PageLink | None = None
        self._answering: threading.Thread | None = None
        self._early: threading.Thread | None = None
        self._clear, self._thawed = threading.Event(), threading.Event()
        self._clear.set()
        self._failure: MigrateError | OSError | MemoryError | None = None
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._way_back = True
        self._all_sent = False  # and told to have arrived
        self.sent = 0
        """Bytes of pages; those that were asked for are not counted."""
        self.wire_bytes = 0
        self.last_sent = time.monotonic()

    def _look(self) -> None:
        """Which processes there are, by pid in the container."""
        pids = ControlGroup.of(self._entry.container).pids()
        self._processes = by_inner_pid(pids, self._init)

    def expect(self, owed: Owed, in_use: InUse) -> None:
        """This is what will be lacking; some of it is sent from now on, as far as nothing waits.

        All is frozen: processes that were born since the link was opened are seen, too.
        """
        self._look()
        self._todo.replace(owed)
        if self._link:
            self._early = threading.Thread(
                target=self._send_early, args=(self._link, in_use), name="early-pages", daemon=True
            )
            self._early.start()

    @contextlib.contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Something else has to be there first: no page goes early meanwhile."""
        self._clear.clear()
        try:
            yield
        finally:
            self._clear.set()

    def _send_early(self, link: PageLink, in_use: InUse) -> None:
        """While CRIU dumps and restores, the link would be idle: what is touched first may go."""
        try:
            sent = 0
            for number, runs in self._touched_first(in_use):
                self._clear.wait()
                if link.closing or self._thawed.is_set() or sent > EARLY_MOST:
                    return
                sent += int((runs[:, 1] - runs[:, 0]).sum())
                if (pid := self._processes.get(number)) is not None:
                    link.send(f"{DIRECTORY}/{number}", runs, self._reader(pid))
        except (MigrateError, OSError, MemoryError) as error:
            if not link.closing:
                self._fail(error)

    def _touched_first(self, in_use: InUse) -> Iterator[tuple[int, numpy.ndarray]]:
        for number, runs in in_use.ordered():
            for part in self._todo.these(number, runs, EARLY):
                yield number, part
        yield from self._todo.smallest(EARLY)

    def open_link(self, address: Address) -> None:
        """The connection for what is asked for; raises what opening it raises."""
        self.close()
        self._failure = None
        self._link = PageLink.open(
            address, self._entry.move, fifo=f"{DIRECTORY}/{FIFO}",
            command=self._entry.remote_command or None,
        )  # fmt: skip
        sys.setswitchinterval(SWITCH)
        self._answering = threading.Thread(
            target=self._answer, args=(self._link,), name="asked-pages", daemon=True
        )
        self._answering.start()

    def _answer(self, link: PageLink) -> None:
        run_at_once()
        try:
            while not link.closing:
                asked = link.asked(1.0)
                for number, offset in asked:
                    self._precedence.asked()
                    self._send_page(link, number, self._todo.page(number, offset))
                for number, offset in asked:
                    self._send_around(link, number, self._todo.around(number, offset))
        except (MigrateError, OSError, MemoryError) as error:
            if not link.closing:
                self._fail(error)

    def _fail(self, error: MigrateError | OSError | MemoryError) -> None:
        with self._lock:
            self._failure = error
            if self._way_back:
                self._on_failure()

    @property
    def failure(self) -> MigrateError | OSError | MemoryError | None:
        """Why no page can be sent over this link any more."""
        return self._failure

    def no_way_back(self) -> None:
        """From here on a link that fails is made anew; raises what it has failed with before."""
        with self._lock:
            self._way_back = False
            if self._failure is not None:
                raise self._failure

    def _send_page(self, link: PageLink, number: int, offset: int) -> None:
        if (pid := self._processes.get(number)) is None:
            raise ProtocolError(f"memory of process {number} was asked for, and there is none")
        try:
            content = read_page(pid, offset)
        except OSError as error:
            if error.errno in {errno.ESRCH, errno.EFAULT}:
                raise _gone(self._entry) from error
            raise
        link.send_page(f"{DIRECTORY}/{number}", offset, content)
        self._precedence.asked()

    def _send_around(self, link: PageLink, number: int, runs: numpy.ndarray) -> None:
        pid = self._processes.get(number)
        if pid is not None and len(runs):
            link.send(f"{DIRECTORY}/{number}", runs, self._reader(pid))
            self._precedence.asked()

    def _reader(self, pid: int) -> Callable[[numpy.ndarray, bytearray], numpy.ndarray]:
        return functools.partial(_read, self._entry, pid)

    def _patient_reader(self, pid: int) -> Callable[[numpy.ndarray, bytearray], numpy.ndarray]:
        """For pages that nobody waits for."""

        def read(runs: numpy.ndarray, buffer: bytearray) -> numpy.ndarray:
            self._precedence.give_way()
            return _read(self._entry, pid, runs, buffer)

        return read

    def once(self, call: Call, bulk: BulkSender) -> Target | None:
        """Send until the target lacks nothing; its state then. Raises what sending raises."""
        self._thawed.set()
        while (state := self._settled(call)) is Target.COMMITTED:
            owed = decode(call("move.owed", move=self._entry.move, timeout=CALL_LIMIT))
            self._todo.replace(owed)
            total = self._todo.remaining
            self._all_sent = False
            for number in list(owed):
                if (pid := self._processes.get(number)) is None:
                    raise _gone(self._entry)
                bulk.send_awaited(
                    f"{DIRECTORY}/{number}", self._parts(number, call), self._patient_reader(pid),
                    self._counter(total),
                )  # fmt: skip
            bulk.flush()
            self._all_sent = self._todo.remaining == 0
        return state

    def _settled(self, call: Call) -> Target | None:
        answer = call("move.settle", move=self._entry.move, timeout=SETTLE_LIMIT)
        return Target(answer) if answer else None

    def _parts(self, number: int, call: Call) -> Iterator[numpy.ndarray]:
        """What is left of a process, as long as anybody needs it."""
        asked = time.monotonic()
        for runs in self._todo.parts(number):
            if self._failure is not None:
                raise self._failure
            yield runs
            if time.monotonic() - asked > LOOK_EVERY:
                if self._settled(call) is not Target.COMMITTED:
                    self._todo.replace({})
                asked = time.monotonic()

    def _counter(self, total: int) -> Callable[[int], None]:
        def count(size: int) -> None:
            self.sent += size
            self.last_sent = time.monotonic()
            done = max(total - self._todo.remaining, 0)
            self._report(Event("bytes", "memory", {"done": done, "total": total}))

        return count

    def close(self) -> None:
        """Answer no more; safe to repeat."""
        if self._link:
            self._link.close()
            self.wire_bytes += self._link.wire_bytes
        self._clear.set()
        for thread in (self._answering, self._early):
            if thread:
                thread.join()
        self._link = self._answering = self._early = None

    def go_on(
        self, address: Address, connect: Connect, rate_limit: int | None = None,
        patience: float = PATIENCE,
    ) -> Target | None:  # fmt: skip
        """Connect anew as often as it takes; as `once`. Raises PagesOwed, MemoryGone.

        It is given up after `patience` seconds without a page sent.
        """
        self.last_sent = time.monotonic()
        while True:
            try:
                with connect() as call:
                    # What lacks nothing has no place for data any more.
                    if (state := self._settled(call)) is not Target.COMMITTED:
                        return state
                    with self._bulk(address, rate_limit) as bulk:
                        self.open_link(address)
                        return self.once(call, bulk)
            except MemoryGone:
                raise
            except (MigrateError, OSError) as error:
                if isinstance(error, LASTING) or time.monotonic() - self.last_sent > patience:
                    raise self.owed(error) from error
                self._report(Event("note", f"the rest of memory waits: {error}; trying again"))
                time.sleep(RETRY)
            finally:
                self.close()

    @contextlib.contextmanager
    def _bulk(self, address: Address, rate_limit: int | None) -> Iterator[BulkSender]:
        command = self._entry.remote_command or None
        with BulkSender.open(
            address, self._entry.move, rate_limit=rate_limit, command=command
        ) as bulk:
            yield bulk
        self.wire_bytes += bulk.wire_bytes

    def owed(self, error: BaseException) -> PagesOwed:
        """The error that says what is not over."""
        name, peer = self._entry.name, self._entry.peer
        cause = error.what if isinstance(error, MigrateError) else str(error)
        if not cause:
            cause = "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)
        left = self._todo.remaining
        if self._all_sent:
            but = "the move can't be ended there"
        else:
            but = f"{-(-left >> 20)} MiB of its memory" if left else "memory that it may need"
            but += " are here" if left else " is here"
        return PagesOwed(
            f"'{name}' runs on {peer}, but {but}",
            cause=cause,
            mend=f"run 'migrate recover {name}' when {peer} is well again; until then it stands "
            "still where it lacks memory, and this host must stay up",
        )


Connect = Callable[[], contextlib.AbstractContextManager[Call]]
"""Connects to the target's agent; raises what connecting raises."""


def _gone(entry: Entry) -> MemoryGone:
    return MemoryGone(
        f"the memory that '{entry.name}' still needs is lost",
        cause="its frozen processes on this host have ended before all of it was sent",
        mend=f"on {entry.peer}: 'migrate kill {entry.name}', then start it again",
    )


def _read(
    entry: Entry, pid: int, runs: numpy.ndarray, buffer: bytearray
) -> numpy.ndarray:  # fmt: skip
    """All of it, or MemoryGone: what is awaited has nowhere else to come from."""
    try:
        there = read_runs(pid, runs, buffer)
    except ProcessLookupError as error:
        raise _gone(entry) from error
    if int((there[:, 1] - there[:, 0]).sum()) != int((runs[:, 1] - runs[:, 0]).sum()):
        raise _gone(entry)
    return there
