"""Many moves side by side: in the plan's order, so many at once, stoppable, each for itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from migrate.errors import InternalError, MigrateError
from migrate.evacuate.execution.course import Course, Outcome, State, Task
from migrate.evacuate.execution.hooks import Hooks
from migrate.evacuate.execution.journal import Journal
from migrate.evacuate.execution.launching import Launch, launch
from migrate.evacuate.execution.moving import How, Moving
from migrate.evacuate.execution.watching import Watch

POLL = 0.1  # seconds between looks at signals, the deadline and who watches
NOT_MOVED = frozenset({State.FAILED, State.INTERRUPTED, State.UNSETTLED})
Claim = Callable[[Task], AbstractContextManager[object]]
"""Claims a container for one move; raises MigrateError when it must not be moved now."""


@dataclass(frozen=True)
class Conduct:
    """How moves are carried out. `deadline` on the monotonic clock."""

    parallel: int = 2
    how: How = field(default_factory=How)
    on_failure: Literal["stop", "skip", "cold"] = "skip"
    deadline: float | None = None
    hooks: Hooks = field(default_factory=Hooks)
    start: Launch = launch
    claim: Claim = lambda task: nullcontext()
    concluded: Callable[[Outcome], None] = lambda outcome: None
    """Hears of each container that was begun or tried, when nothing more is done with it."""


class Execution:
    """Carries tasks out; `courses` says at any time how far each is.

    Ctrl-C (or SIGTERM, SIGHUP) once: nothing new begins, what runs at its origin is rolled back,
    what is frozen or stopped is let finish. Twice: the frozen ones are rolled back as well, where
    COMMIT was not yet given.
    """

    def __init__(
        self, tasks: Sequence[Task], conduct: Conduct, journal: Journal,
        watch: Callable[[Course], None] = lambda course: None,
    ) -> None:  # fmt: skip
        self.courses = [Course(task) for task in tasks]
        self._conduct, self._journal, self._watch = conduct, journal, watch
        self._lock = threading.Lock()
        self._next = 0
        self._running: dict[str, Moving] = {}
        self._stopping = ""  # why nothing new begins
        self._signals = self._heard = 0

    def carry_out(self, each_moment: Callable[[], None] = lambda: None) -> list[Outcome]:
        """All outcomes, in the tasks' order; raises only what is a defect."""
        workers = [
            threading.Thread(target=self._work, name=f"move {number}", daemon=True)
            for number in range(max(1, min(self._conduct.parallel, len(self.courses))))
        ]
        with self._listening():
            for worker in workers:
                worker.start()
            while any(worker.is_alive() for worker in workers):
                time.sleep(POLL)
                self._look()
                each_moment()
        return [course.outcome or self._left(course) for course in self.courses]

    def stop(self, why: str, *, frozen: bool = False) -> None:
        """Begin nothing new and interrupt what is on its way; the frozen ones only if `frozen`."""
        with self._lock:
            self._stopping = self._stopping or why
            running = list(self._running.values())
        for moving in running:
            moving.interrupt(frozen=frozen)

    def _look(self) -> None:
        if self._signals > self._heard:
            self._heard = self._signals
            self.stop("interrupted", frozen=self._heard > 1)
        deadline = self._conduct.deadline
        if deadline is not None and time.monotonic() >= deadline:
            self.stop("the deadline has come")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals are counted; `_look` heeds them. Only the main thread can do that."""
        before: dict[int, Any] = {}

        def hear(_number: int, _frame: Any) -> None:
            self._signals += 1

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                before[number] = signal.signal(number, hear)
        try:
            yield
        finally:
            for heard, handler in before.items():
                signal.signal(heard, handler)

    def _work(self) -> None:
        while (course := self._take()) is not None:
            outcome = self._move(course)
            if outcome.state is State.FAILED and self._may_try_cold(course):
                course.task = msgspec.structs.replace(course.task, mode="cold")
                outcome = self._move(course)
            self._conduct.concluded(outcome)
            if outcome.state in NOT_MOVED and self._conduct.on_failure == "stop":
                with self._lock:
                    self._stopping = self._stopping or f"'{outcome.name}' could not be moved"

    def _take(self) -> Course | None:
        """The next one, None when nothing more is to begin."""
        with self._lock:
            while not self._stopping and self._next < len(self.courses):
                course = self.courses[self._next]
                self._next += 1
                deadline = self._conduct.deadline
                if deadline is None or time.monotonic() + course.task.seconds <= deadline:
                    return course
        return None

    def _may_try_cold(self, course: Course) -> bool:
        with self._lock:
            stopping = bool(self._stopping)
        return self._conduct.on_failure == "cold" and course.task.mode != "cold" and not stopping

    def _move(self, course: Course) -> Outcome:
        outcome = self._conclude(self._try(course))
        course.state, course.outcome = outcome.state, outcome
        self._watch(course)
        return outcome

    def _try(self, course: Course) -> Outcome:
        task = course.task
        try:
            with self._conduct.claim(task):
                self._conduct.hooks.run_before(task)
                self._journal_line("moving", task=task)
                return self._carry_out(course)
        except MigrateError as error:
            return _failed(task, error)
        except OSError as error:
            return _failed(task, MigrateError("the operating system refused", cause=str(error)))
        except Exception as defect:  # noqa: BLE001 -- the others must not suffer, nor this be hidden
            cause = f"{type(defect).__name__}: {defect}"
            unforeseen = InternalError(f"the move of '{task.name}' was lost sight of", cause=cause)
            return _failed(task, unforeseen, State.UNSETTLED)

    def _conclude(self, outcome: Outcome) -> Outcome:
        """What fails from here on changes nothing of where the container is."""
        try:
            if outcome.begun:
                self._journal_line("outcome", outcome=outcome)
            self._conduct.hooks.run_after(outcome)
        except MigrateError as error:
            return msgspec.structs.replace(outcome, warning=f"{error.what}: {error.cause}")
        except OSError as error:
            return msgspec.structs.replace(outcome, warning=f"the journal: {error}")
        return outcome

    def _carry_out(self, course: Course) -> Outcome:
        name = course.task.name
        with open_private(self._journal.log_of(name)) as log:
            moving = Moving(course, self._conduct.how, self._conduct.start, self._watch, log)
            with self._lock:
                self._running[course.task.container] = moving
                stopping = bool(self._stopping)
            if stopping:
                moving.interrupt()
            try:
                with Watch(course.task.address) as watch:
                    outcome = moving.carry_out()
                gap = watch.longest if outcome.state is State.MOVED else None
                return msgspec.structs.replace(outcome, gap_seconds=gap)
            finally:
                with self._lock:
                    self._running.pop(course.task.container)

    def _journal_line(self, kind: str, **fields: Any) -> None:
        with self._lock:
            self._journal.write(kind, **fields)

    def _left(self, course: Course) -> Outcome:
        why = self._stopping or "it would not be done before the deadline"
        error = MigrateError(f"'{course.task.name}' was not begun", cause=why)
        course.outcome = _failed(course.task, error, State.INTERRUPTED)
        course.state = course.outcome.state
        return course.outcome


def _failed(task: Task, error: MigrateError, state: State = State.FAILED) -> Outcome:
    return Outcome(
        task.container, task.name, task.origin, task.target, state, task.mode,
        error=error.to_wire(),
    )  # fmt: skip


def open_private(path: Path) -> IO[str]:
    """The file emptied for writing, readable by its owner alone: lines name images and paths."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "w")


def with_share(how: How, bandwidth: int | None, parallel: int) -> How:
    """Each of so many moves at once gets its part of the bandwidth (Mbit/s, None for no limit)."""
    if bandwidth is None:
        return how
    return replace(how, bandwidth=max(1, bandwidth // max(1, parallel)))
