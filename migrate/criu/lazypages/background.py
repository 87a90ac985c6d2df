"""The fill: step by step what nobody has asked for, first what has just come from elsewhere."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable

from migrate.criu.lazypages.awaited import Arrival, Awaited
from migrate.criu.lazypages.filler import CHUNK, Filler, give_back
from migrate.criu.lazypages.spaces import Run
from migrate.criu.lazypages.tasks import Task, Tasks
from migrate.kernel.userfault_fill import PAGE

MEMORY_RETRY = 0.05  # seconds, while the container is at its memory limit
_SKIPS = 256  # awaited runs passed over in one step


class Background:
    """Steps of at most CHUNK bytes; `rate` in bytes a second, 0 for no limit.

    The three callbacks are the server's: a task has everything or is gone; its events are to be
    read; so many bytes were given for addresses that can't be filled.
    """

    def __init__(
        self, tasks: Tasks, filler: Filler, awaited: Awaited, rate: int,
        end: Callable[[Task], None], listen: Callable[[Task], None],
        stranded: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._tasks, self._filler, self._awaited, self._rate = tasks, filler, awaited, rate
        self._end, self._listen, self._stranded = end, listen, stranded
        self._arrived: deque[Arrival] = deque()
        self.recent: Task | None = None
        """Whose page was asked for last: it goes on there."""
        self.not_before = 0.0
        """Monotonic seconds: no step before that."""

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """These pages have come, and are placed next."""
        self._arrived.extend(arrivals)

    @property
    def has_arrived(self) -> bool:
        """Whether pages have come that are not placed yet."""
        return bool(self._arrived)

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything: what is left may all be on another host."""
        return bool(self._arrived) or self._next_task() is not None

    def _next_task(self) -> Task | None:
        recent = self.recent
        if recent and recent.uffd in self._tasks and self._wants(recent):
            return recent
        return next((task for task in self._tasks.values() if self._wants(task)), None)

    def _wants(self, task: Task) -> bool:
        return task.walk >= 0 or not self._awaited.of(task.pid)

    def step(self) -> None:
        """One step, if there is work."""
        if self._arrived:
            self._place(self._arrived.popleft())
            return
        task = self.recent = self._next_task()
        if task is None:
            return
        if not self._awaited.of(task.pid):
            piece = task.space.next_piece(task.cursor, task.limit or CHUNK)
            if piece is None:
                self._end(task)
                return
        else:
            piece = self._walk(task)
        if piece is not None:
            self._put(task, piece)

    def _walk(self, task: Task) -> Run | None:
        """The next piece that is here, upwards from where the walk is; it ends at -1."""
        for _ in range(_SKIPS):
            piece = task.space.next_piece(task.walk, task.limit or CHUNK)
            if piece is None or piece.start < task.walk:
                task.walk = -1
                return None
            here = self._awaited.here(task.pid, piece.offset, piece.end - piece.start)
            if here:
                piece = piece._replace(end=piece.start + here)
                task.walk = piece.end
                return piece
            gap = self._awaited.gap(task.pid, piece.offset)
            task.walk = min(piece.start + gap, piece.end)
        return None

    def _place(self, arrival: Arrival) -> None:
        """Into all processes that share these contents."""
        pid, start, end = arrival
        if end - start > CHUNK:
            self._arrived.appendleft(Arrival(pid, start + CHUNK, end))
            end = start + CHUNK
        sharing = [task for task in self._tasks.values() if task.pid == pid]
        wanted = False
        for task in sharing:
            for piece in task.space.of_contents(start, end):
                wanted = True
                self._put(task, piece)
        if sharing and not wanted:
            give_back(sharing[0].content, [Run(start, end, start)])

    def _put(self, task: Task, piece: Run) -> None:
        before = task.space.remaining
        error = self._filler.put(task, piece)
        task.limit = 0 if not error else task.limit
        task.cursor = piece.end
        if self._rate:
            now = time.monotonic()
            self.not_before = now + (before - task.space.remaining) / self._rate
        if error:
            self._hindered(task, piece, error)
        elif not task.space.runs:
            self._end(task)

    def _hindered(self, task: Task, piece: Run, error: int) -> None:
        """What stopped a step: `piece` may be filled in part."""
        task.cursor = piece.start
        task.walk = min(task.walk, piece.start) if task.walk >= 0 else piece.start
        if error == errno.ESRCH:
            self._end(task)
        elif error == errno.EAGAIN:
            self._listen(task)
        elif error == errno.ENOMEM:
            self.not_before = time.monotonic() + MEMORY_RETRY
        else:
            self._strand(task, piece)

    def _strand(self, task: Task, piece: Run) -> None:
        """ENOENT: a range that crosses a border, or a page in no region that may be filled.

        A region that is just moving answers the same once, and EAGAIN from then on, until its
        message is read (Linux, fs/userfaultfd.c, userfaultfd_copy, looks for that before it looks
        for the region): what answers ENOENT twice is not there.
        """
        rest = task.space.next_piece(piece.start, piece.end - piece.start)
        if rest is None or not piece.start <= rest.start < piece.end:
            return
        page = rest._replace(end=rest.start + PAGE)
        error = self._filler.put(task, page)
        if not error:
            task.cursor = page.end
            task.limit = max(PAGE, (task.limit or CHUNK) // 2 // PAGE * PAGE)
        elif error == errno.ENOENT and self._filler.put(task, page) == errno.ENOENT:
            self._filler.needless(task, task.space.cut(page.start, page.end))
            self._stranded(PAGE)
            task.limit = PAGE
