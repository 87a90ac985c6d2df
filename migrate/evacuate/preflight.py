"""Each move of a plan asked for as a dry run at its origin: the hosts' own word beforehand."""

from __future__ import annotations

import contextlib
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
TOGETHER = 8
"""Moves asked for by one command: most of its time goes into its start and its connections."""

USAGE = 2
"""The exit status of a command line that click does not understand."""


@dataclass(frozen=True)
class Checked:
    """What the two hosts said of one move. Sizes in bytes."""

    mode: str  # that the move would take
    memory_bytes: int = 0
    obstacle: str = ""  # in words, "" when it can be done


def check_together(tasks: Sequence[Task], how: How, start: Launch) -> list[Checked]:
    """Ask for some of one origin, target and mode by one command, over one connection.

    Whatever fails is an obstacle, not raised.
    """
    first, *others = tasks
    beside = [word for task in others for word in ("--beside", task.container)]
    try:
        status, printed, complaint = run(
            start, first.origin_address, arguments_of(first, how, "--dry-run", *beside)
        )
    except (MigrateError, OSError) as error:
        return [Checked(task.mode, obstacle=_words(error)) for task in tasks]
    if status == USAGE and beside:  # an older migrate there, which plans one at a time
        return [answer for task in tasks for answer in check_together([task], how, start)]
    answers: dict[str, dict[str, Any]] = {}
    failure: dict[str, Any] = {}  # of the command itself
    for line in printed:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                answers.setdefault(str(message.get("of", first.container)), {}).update(message)
                failure = message if "error" in message and "of" not in message else failure
    silence = complaint[-300:] or f"no answer, status {status}"
    return [_read(task, answers.get(task.container) or failure, silence) for task in tasks]


def _read(task: Task, answer: dict[str, Any], silence: str) -> Checked:
    said, plan = answer.get("error"), answer.get("plan")
    if isinstance(said, dict):
        return Checked(task.mode, obstacle=_joined(said))
    if not isinstance(plan, dict) or not isinstance(plan.get("mode"), str):
        return Checked(task.mode, obstacle=silence)
    memory = plan.get("memory_bytes")
    return Checked(plan["mode"], memory if isinstance(memory, int) else 0)


def check_all(
    tasks: Sequence[Task], how: How, start: Launch, told: Callable[[int], None] = lambda done: None
) -> list[Checked]:
    """Ask for all, AT_ONCE commands side by side; `told` hears how many are done.

    The answers are in the tasks' order.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, task in enumerate(tasks):
        groups.setdefault((task.origin_address, task.target_address, task.mode), []).append(number)
    parts = [numbers[at : at + TOGETHER] for numbers in groups.values()
             for at in range(0, len(numbers), TOGETHER)]  # fmt: skip
    found: dict[int, Checked] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = pool.map(lambda part: check_together([tasks[n] for n in part], how, start), parts)
        for part, answers in zip(parts, asked, strict=True):
            found.update(zip(part, answers, strict=True))
            told(len(found))
    return [found[number] for number in range(len(tasks))]


def _joined(error: dict[str, Any]) -> str:
    what, cause = str(error.get("what", "")), str(error.get("cause", ""))
    if error.get("code") == MoveRefused.code:
        cause = "; ".join(line.strip(" -") for line in cause.splitlines() if line.strip())
    return f"{what} ({cause})" if cause else what


def _words(error: MigrateError | OSError) -> str:
    if isinstance(error, MigrateError):
        return f"{error.what} ({error.cause})" if error.cause else error.what
    return str(error)
