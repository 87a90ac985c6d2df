"""A program of `workloads/` at a client's place, which answers each order with a line of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol, Self

from migrate.bench.errors import BenchMissed

PROGRAMS = Path(__file__).parent / "workloads"
END_LIMIT = 10.0  # seconds


class Place(Protocol):
    """Where programs can be started: a host, a client."""

    def popen(self, command: list[str], **how: Any) -> Any:
        """A program that runs there, as subprocess.Popen has it."""
        ...


class Watching:
    """A context manager; the program ends with it."""

    def __init__(self, place: Place, program: str, *words: str, lost: str) -> None:
        """`lost`: what has happened, in words, when the program says nothing any more."""
        self._lost = lost
        self._process: Any = place.popen(
            [sys.executable, "-I", "-S", str(PROGRAMS / program), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died, and an order is in the buffer
            self._process.stdin.close()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:  # it waits for an answer that does not come any more
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def expect(self, word: str) -> None:
        """Raises BenchMissed unless this is the next line that it says."""
        if self._process.stdout.readline().strip() != word:
            self.__exit__()
            raise BenchMissed("the client did not reach the load")

    def order(self, words: str) -> dict[str, Any]:
        """Its answer; raises BenchMissed when there is none."""
        try:
            self._process.stdin.write(f"{words}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchMissed(self._lost, cause="see its standard error")
        told: dict[str, Any] = json.loads(line)
        return told
