"""One container moved by `migrate move` at its origin, and settled when that was cut off.

The move is the origin's own command, as an operator would give it there: what promises that the
container runs once is the transaction between the two hosts, and nothing that happens to us can
break it. Ours is to start it, to watch it, and to find out how it ended.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from migrate.errors import MigrateError, from_wire
from migrate.evacuate.execution.course import Course, Outcome, State, Task
from migrate.evacuate.execution.launching import LOST, Command, Launch, run
from migrate.move.errors import Interrupted, MoveRolledBack, MoveUncertain, PagesOwed
from migrate.runtime.errors import ContainerUnknown
from migrate.transfer.errors import ConnectionLost

SETTLE_TRIES, SETTLE_PAUSE = 5, 3.0
"""How often `migrate recover` is asked at the origin, and seconds between."""
_OPEN_CODES = {MoveUncertain.code, PagesOwed.code}


@dataclass(frozen=True)
class How:
    """What all moves have in common; times in seconds, bandwidth in Mbit/s of one move."""

    max_downtime: float | None = None
    bandwidth: int | None = None
    stop_time: float | None = None


def arguments_of(task: Task, how: How, *more: str) -> tuple[str, ...]:
    """The arguments of `migrate` that carry the task out at its origin."""
    options = ["--mode", task.mode, "--json", *more]
    if how.max_downtime is not None:
        options += ["--max-downtime", str(max(1, round(how.max_downtime * 1000)))]
    if how.bandwidth is not None:
        options += ["--bandwidth", str(how.bandwidth)]
    if how.stop_time is not None:
        options += ["--stop-time", str(how.stop_time)]
    return ("move", *options, "--", task.container, task.target_address)


class Moving:
    """One move on its way. `interrupt` may come from another thread, at any time."""

    def __init__(
        self, course: Course, how: How, start: Launch, told: Callable[[Course], None],
        log: IO[str] | None = None,
    ) -> None:  # fmt: skip
        self._course, self._how, self._start, self._told = course, how, start, told
        self._log = log
        self._lock = threading.Lock()
        self._command: Command | None = None
        self._interrupted = threading.Event()

    def interrupt(self, *, frozen: bool = False) -> None:
        """Let it roll back; one that is frozen is let finish, unless `frozen`."""
        with self._lock:
            if self._course.state in {State.FROZEN, State.SERVING} and not frozen:
                return
            self._interrupted.set()
            if self._command is not None:
                self._command.interrupt()

    def carry_out(self) -> Outcome:
        """Move it; whatever comes of it is told as an outcome, not raised."""
        course, task = self._course, self._course.task
        course.state, course.begun = State.MOVING, time.monotonic()
        begun = time.time()
        try:
            result, error, lost = self._run()
        except (MigrateError, OSError) as failure:  # it was not even started
            result, error, lost = None, _as_error(failure), False
        if result is None and (lost or (error is not None and error.code in _OPEN_CODES)):
            state, error = self._settle(error)
            if state is State.FAILED and self._interrupted.is_set():
                state = State.INTERRUPTED
        elif result is not None:
            state = State.MOVED
        else:
            state = State.INTERRUPTED if isinstance(error, Interrupted) else State.FAILED
        return _outcome(task, state, result or {}, error, begun)

    def _run(self) -> tuple[dict[str, Any] | None, MigrateError | None, bool]:
        """The result or the error, and whether nobody knows."""
        if self._interrupted.is_set():
            return None, Interrupted(f"'{self._course.task.name}' was not moved"), False
        arguments = arguments_of(self._course.task, self._how, "--stop-at-eof")
        command = self._start(self._course.task.origin_address, arguments)
        with self._lock:
            self._command = command
            if self._interrupted.is_set():
                command.interrupt()
        result: dict[str, Any] | None = None
        error: MigrateError | None = None
        for line in command.lines():
            message = self._read(line)
            if isinstance(message.get("result"), dict):
                result = message["result"]
            elif isinstance(message.get("error"), dict):
                error = from_wire(message["error"])
        status = command.wait()
        if result is None and error is None and status != LOST:
            error = MoveRolledBack(
                f"'migrate move' at {self._course.task.origin} ended with status {status}",
                cause=command.complaint()[-600:],
            )
        return result, error, status == LOST or status > 128

    def _read(self, line: str) -> dict[str, Any]:
        if self._log is not None:
            self._log.write(line + "\n")
            self._log.flush()
        try:
            message = json.loads(line)
        except ValueError:
            return {}
        if not isinstance(message, dict):
            return {}
        with self._lock:
            self._course.hear(message)
        self._told(self._course)
        return message

    def _settle(self, error: MigrateError | None) -> tuple[State, MigrateError | None]:
        """Ask the origin to settle what was cut off; raises nothing."""
        task = self._course.task
        for attempt in range(SETTLE_TRIES):
            if attempt:
                time.sleep(SETTLE_PAUSE)
            try:
                state = settle(self._start, task.origin_address, task.container)
            except (MigrateError, OSError) as failure:
                error = error or _as_error(failure)
                continue
            if state is State.MOVED:
                return state, None
            if state is State.FAILED:
                return state, error or ConnectionLost(
                    f"the move of '{task.name}' was cut off, and has been rolled back"
                )
        return State.UNSETTLED, error or MoveUncertain(
            f"nobody knows yet where '{task.name}' runs",
            cause=f"{task.origin} does not answer",
            mend=f"when it does: 'migrate recover {task.name}' there",
        )


def settle(start: Launch, address: str, container: str) -> State:
    """Run `migrate recover` for the container at that address: MOVED, FAILED or UNSETTLED.

    Raises what `launch` does, what `recover` says there (ContainerBusy while a move still runs),
    and ConnectionLost when it says nothing.
    """
    status, printed, complaint = run(start, address, ("recover", "--json", "--", container))
    outcomes, error = _said(printed)
    if error is not None and error.code == ContainerUnknown.code:
        return where_it_is(start, address, container)
    if {"committing", "serving"} & set(outcomes or ()):
        return State.UNSETTLED
    if error is not None:
        raise error
    if outcomes is None:
        raise ConnectionLost(
            "'migrate recover' gave no answer", cause=complaint[-600:] or f"status {status}"
        )
    return State.MOVED if "committed" in outcomes else where_it_is(start, address, container)


def _said(lines: list[str]) -> tuple[list[str] | None, MigrateError | None]:
    """What `migrate recover --json` printed: the outcomes, and the error that may follow them."""
    error = None
    end = next((n for n, line in enumerate(lines) if line.startswith('{"error"')), len(lines))
    try:
        if end < len(lines):
            error = from_wire(json.loads(lines[end])["error"])
        told = json.loads("\n".join(lines[:end]))
        if not isinstance(told, list):
            return None, error
        return [str(entry["outcome"]) for entry in told], error
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, error


def where_it_is(start: Launch, address: str, container: str) -> State:
    """Whether the host still has the container (FAILED: the move did) or has sent it (MOVED).

    Raises what `launch` does, and ConnectionLost.
    """
    status, printed, complaint = run(start, address, ("ps", "-a", "--json"))
    try:
        found = {entry["id"]: entry for entry in json.loads("\n".join(printed))}
    except (ValueError, KeyError, TypeError):
        raise ConnectionLost(
            "the host does not say which containers it has",
            cause=complaint[-600:] or f"status {status}",
        ) from None
    entry = found.get(container)
    if entry is None or entry.get("moved_to"):
        return State.MOVED
    return State.UNSETTLED if entry.get("held") else State.FAILED


def _as_error(failure: MigrateError | OSError) -> MigrateError:
    if isinstance(failure, MigrateError):
        return failure
    return ConnectionLost("the move could not be started", cause=str(failure))


def _outcome(
    task: Task, state: State, result: dict[str, Any], error: MigrateError | None, begun: float
) -> Outcome:
    def number(key: str) -> float:
        value = result.get(key, 0)
        return value if isinstance(value, int | float) else 0

    return Outcome(
        container=task.container, name=task.name, origin=task.origin, target=task.target,
        state=state, mode=str(result.get("mode", task.mode)), begun=begun, ended=time.time(),
        freeze_seconds=float(number("freeze_seconds")), bytes_sent=int(number("bytes_sent")),
        memory_bytes=int(number("memory_bytes")), generation=int(number("generation")),
        error=error.to_wire() if error else None, warning=str(result.get("warning", "")),
    )  # fmt: skip
