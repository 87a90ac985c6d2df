"""The client of `migrate bench peers`, which asks both hosts (`workloads/datagrams.py`)."""

from __future__ import annotations

import time
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import START_LIMIT
from migrate.bench.peers.side import PORT
from migrate.bench.watching import Place, Watching


class Client(Watching):
    """A context manager."""

    def __init__(self, place: Place, addresses: list[str]) -> None:
        """`place`: where it is; `addresses` of the hosts."""
        super().__init__(
            place, "datagrams.py", "ask", str(PORT), *addresses, lost="the client got no answer"
        )

    def mark(self) -> dict[str, Any]:
        """`gap` in seconds and `answers`, since the last mark or question."""
        return self.order("mark")

    def ask(self, word: str) -> str:
        """The load's answer."""
        return str(self.order(f"ask {word}")["answer"])

    def wait(self) -> None:
        """Until the load answers; raises BenchImpossible."""
        deadline = time.monotonic() + START_LIMIT
        while not self.mark()["answers"]:
            if time.monotonic() > deadline:
                raise BenchImpossible(
                    "the load did not start", cause=f"tried for {START_LIMIT:g} s"
                )
            time.sleep(0.02)
