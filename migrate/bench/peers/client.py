"""The client of `migrate bench peers`, which asks both hosts (`workloads/datagrams.py`)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from typing import Any

from migrate.bench.errors import BenchImpossible, BenchMissed
from migrate.bench.loads.load import PROGRAMS, START_LIMIT
from migrate.bench.peers.side import PORT


class Client:
    """A context manager."""

    def __init__(self, place: Any, addresses: list[str]) -> None:
        """`place`: where it is; `addresses` of the hosts."""
        self._process: Any = place.popen(
            [sys.executable, "-I", "-S", str(PROGRAMS / "datagrams.py"), "ask", str(PORT),
             *addresses],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # it waits for an answer that does not come any more
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def mark(self) -> dict[str, Any]:
        """`gap` in seconds and `answers`, since the last mark or question."""
        return self._order("mark")

    def ask(self, word: str) -> str:
        """The load's answer."""
        return str(self._order(f"ask {word}")["answer"])

    def wait(self) -> None:
        """Until the load answers; raises BenchImpossible."""
        deadline = time.monotonic() + START_LIMIT
        while not self.mark()["answers"]:
            if time.monotonic() > deadline:
                raise BenchImpossible(
                    "the load did not start", cause=f"tried for {START_LIMIT:g} s"
                )
            time.sleep(0.02)

    def _order(self, words: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(f"{words}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchMissed("the client got no answer", cause="see its standard error")
        told: dict[str, Any] = json.loads(line)
        return told
