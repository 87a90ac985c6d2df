"""Moves that a conductor had begun before it died: each settled at the host where it began."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from migrate.errors import MigrateError
from migrate.evacuate.execution.course import Outcome, State, Task
from migrate.evacuate.execution.journal import Journal
from migrate.evacuate.execution.launching import Launch
from migrate.evacuate.execution.moving import settle

AT_ONCE = 4
LIMIT, PAUSE = 60.0, 2.0
"""Seconds in which a host must answer, and between two questions."""


def settle_unfinished(
    journal: Journal, start: Launch, told: Callable[[str], None]
) -> None:  # fmt: skip
    """Find out what became of each, and write it down; what can't be known stays unfinished.

    A move whose command still runs at its origin holds the container's lock: it is waited for.
    """
    tasks = list(journal.unfinished.values())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for task, (state, error) in zip(
            tasks, pool.map(lambda task: _settled(start, task), tasks), strict=True
        ):
            words = f": {error.what}" if error else ""
            told(f"{task.name}, whose move to {task.target} was cut off: {state}{words}")
            journal.write("outcome", outcome=Outcome(
                task.container, task.name, task.origin, task.target, state, task.mode,
                error=error.to_wire() if error else None,
            ))  # fmt: skip


def _settled(start: Launch, task: Task) -> tuple[State, MigrateError | None]:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return settle(start, task.origin_address, task.container), None
        except (MigrateError, OSError) as failure:
            error = failure if isinstance(failure, MigrateError) else _refused(failure)
        if time.monotonic() > deadline:
            return State.UNSETTLED, error
        time.sleep(PAUSE)


def _refused(error: OSError) -> MigrateError:
    return MigrateError("the operating system refused", cause=str(error))
