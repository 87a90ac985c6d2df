"""Commands that print what a test wrote down: the conductor's own work needs no container."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from migrate.evacuate.execution.course import Task
from migrate.evacuate.execution.launching import LOST

RESULT = {"mode": "pre-copy", "freeze_seconds": 0.05, "bytes_sent": 1000, "memory_bytes": 4000,
          "generation": 2, "warning": ""}  # fmt: skip


def task(name: str, **fields: Any) -> Task:
    """A task from alpha to beta."""
    return Task(**{
        "container": f"id-{name}", "name": name, "origin": "alpha", "origin_address": "root@alpha",
        "target": "beta", "target_address": "root@beta", "mode": "auto", **fields,
    })  # fmt: skip


class Move:
    """`migrate move`: its phases, each when it is let; an interruption rolls back until COMMIT."""

    def __init__(self, error: dict[str, Any] | None = None, *, lost: bool = False) -> None:
        self.error, self.lost = error, lost
        self.go = threading.Event()  # from memory to freeze
        self.finish = threading.Event()  # from freeze to the end
        self.begun = threading.Event()
        self.frozen = threading.Event()
        self.interrupted = False

    def free(self) -> Move:
        """One that goes to its end by itself."""
        self.go.set()
        self.finish.set()
        return self

    def lines(self) -> Iterator[str]:
        yield json.dumps({"event": "phase", "name": "memory"})
        self.begun.set()
        self.go.wait(60)
        if self.interrupted or self.error:
            yield json.dumps({"error": self.error or {"code": 101, "what": "interrupted"}})
            return
        yield json.dumps({"event": "phase", "name": "freeze"})
        self.frozen.set()
        self.finish.wait(60)
        if self.interrupted:
            yield json.dumps({"error": {"code": 101, "what": "interrupted"}})
        elif not self.lost:
            yield json.dumps({"event": "note", "name": "committed"})
            yield json.dumps({"result": RESULT})

    def interrupt(self) -> None:
        self.interrupted = True
        self.free()

    def wait(self) -> int:
        return LOST if self.lost else int(bool(self.error or self.interrupted))

    def complaint(self) -> str:
        return ""


class Said:
    """A command that prints this and ends."""

    def __init__(self, text: str, status: int = 0, complaint: str = "") -> None:
        self.text, self.status, self.said = text, status, complaint

    def lines(self) -> Iterator[str]:
        yield from self.text.splitlines()

    def interrupt(self) -> None:
        pass

    def wait(self) -> int:
        return self.status

    def complaint(self) -> str:
        return self.said


class Host:
    """Answers `Launch`: moves by container id, other commands by their first word."""

    def __init__(self, **moves: Move) -> None:
        self.moves = {f"id-{name}": move for name, move in moves.items()}
        self.answers: dict[str, Callable[[], Said]] = {}
        self.started: list[tuple[str, ...]] = []

    def __call__(self, address: str, arguments: tuple[str, ...]) -> Any:
        self.started.append(arguments)
        if arguments[0] == "move":
            return self.moves[arguments[-2]]
        return self.answers[arguments[0]]()
