"""Commands of the operator's own, run before and after each move with the state as JSON."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import msgspec

from migrate.evacuate.execution.course import Outcome, Task
from migrate.evacuate.execution.errors import HookFailed

LIMIT = 300.0  # seconds that a hook may take
_OUTPUT = 600  # characters of its output that an error quotes


@dataclass(frozen=True)
class Hooks:
    """Shell commands; "" for none. They run on the operator's machine.

    Standard input of `before`: `{"when": "before", "task": Task}`; of `after`: `{"when": "after",
    "outcome": Outcome}`, fields as in migrate.evacuate.execution.course.
    """

    before: str = ""
    after: str = ""

    def run_before(self, task: Task) -> None:
        """Raises HookFailed, and then the container is not moved."""
        if self.before:
            _run(self.before, {"when": "before", "task": msgspec.to_builtins(task)})

    def run_after(self, outcome: Outcome) -> None:
        """Raises HookFailed, which changes nothing any more."""
        if self.after:
            _run(self.after, {"when": "after", "outcome": msgspec.to_builtins(outcome)})


def _run(command: str, state: dict[str, Any]) -> None:
    what = f"the hook '{command}' failed {state['when']} the move"
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=msgspec.json.encode(state), timeout=LIMIT,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise HookFailed(what, cause=f"it did not end in {LIMIT:g} seconds") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()[-_OUTPUT:]
        raise HookFailed(what, cause=said or f"exit status {done.returncode}")
