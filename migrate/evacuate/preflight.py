"""Each move of a plan asked for as a dry run at its origin: the hosts' own word beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from migrate.errors import MigrateError
from migrate.evacuate.execution.course import Task
from migrate.evacuate.execution.launching import Launch, run
from migrate.evacuate.execution.moving import How, arguments_of
from migrate.move.errors import MoveRefused

AT_ONCE = 4


@dataclass(frozen=True)
class Checked:
    """What the two hosts said of one move. Sizes in bytes."""

    mode: str  # that the move would take
    memory_bytes: int = 0
    obstacle: str = ""  # in words, "" when it can be done


def check(task: Task, how: How, start: Launch) -> Checked:
    """Ask for one; whatever fails is an obstacle, not raised."""
    try:
        status, printed, complaint = run(
            start, task.origin_address, arguments_of(task, how, "--dry-run")
        )
    except (MigrateError, OSError) as error:
        return Checked(task.mode, obstacle=_words(error))
    plan: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for line in printed:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            plan, said = message.get("plan", plan), message.get("error", said)
    if isinstance(said, dict) and said:
        return Checked(task.mode, obstacle=_joined(said))
    if status or not isinstance(plan, dict) or not isinstance(plan.get("mode"), str):
        return Checked(task.mode, obstacle=complaint[-300:] or f"no answer, status {status}")
    memory = plan.get("memory_bytes")
    return Checked(plan["mode"], memory if isinstance(memory, int) else 0)


def check_all(
    tasks: Sequence[Task], how: How, start: Launch, told: Callable[[int], None] = lambda done: None
) -> list[Checked]:
    """Ask for all, AT_ONCE side by side; `told` hears how many are done. In the tasks' order."""
    done = 0
    found = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for checked in pool.map(lambda task: check(task, how, start), tasks):
            found.append(checked)
            done += 1
            told(done)
    return found


def _joined(error: dict[str, Any]) -> str:
    what, cause = str(error.get("what", "")), str(error.get("cause", ""))
    if error.get("code") == MoveRefused.code:
        cause = "; ".join(line.strip(" -") for line in cause.splitlines() if line.strip())
    return f"{what} ({cause})" if cause else what


def _words(error: MigrateError | OSError) -> str:
    if isinstance(error, MigrateError):
        return f"{error.what} ({error.cause})" if error.cause else error.what
    return str(error)
