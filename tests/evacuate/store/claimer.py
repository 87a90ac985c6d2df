"""Another operator: a process of its own that uses a store as it is told, a JSON line at a time.

`python -m tests.evacuate.store.claimer URL` reads ["claim", KIND, NAME, SECONDS],
["reserve", TARGET, MEMORY, CAPACITY], ["check"], ["release"] or ["moved", CONTAINER, FROM, TO,
GENERATION], and answers each with "ok" or the error's class.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from migrate.errors import MigrateError
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.store.lease import Lease
from migrate.evacuate.store.opening import open_store
from migrate.runtime.paths import Paths

CHECKOUT = Path(__file__).resolve().parents[3]


def opened(url: str) -> FleetStore:
    return open_store(url, Paths(Path("/nonexistent"), Path("/nonexistent")))


class Claimer:
    """Such a process."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.evacuate.store.claimer", url], cwd=CHECKOUT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."},
        )  # fmt: skip
        assert self.hear() == "ready"

    def tell(self, *words: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        answer: str = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, *words: Any) -> str:
        self.tell(*words)
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class _Operator:
    def __init__(self, url: str) -> None:
        self.store = opened(url)
        self.leases: list[Lease] = []

    def do(self, verb: str, *words: Any) -> None:
        if verb == "claim":
            kind, name, seconds = words
            self.leases.append(self.store.claim(kind, name, "a test", lease_seconds=seconds))
        elif verb == "reserve":
            target, memory, capacity = words
            self.store.reserve(self.leases[-1], target, memory, capacity)
        elif verb == "moved":
            self.store.moved(*words)
        elif verb == "check":
            self.leases[-1].check()
        else:
            self.leases.pop().release()


def main() -> None:
    operator = _Operator(sys.argv[1])
    print('"ready"', flush=True)
    for line in sys.stdin:
        try:
            operator.do(*json.loads(line))
            answer = "ok"
        except MigrateError as error:
            answer = type(error).__name__
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
