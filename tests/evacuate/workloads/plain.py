"""Containers that need no client: their own log says whether anything was lost."""

from __future__ import annotations

from dataclasses import dataclass

from migrate.bench.hosts import IMAGE
from tests.engine import eventually
from tests.hosts.host import CHECKOUT, Client, Host
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import counts_on, is_gapless, start_counter

PAUSE = 0.1  # seconds between two counts: many count on a small machine


@dataclass
class Counter:
    """A shell that counts into its log and a file; `options` of `migrate run`."""

    name: str
    options: tuple[str, ...] = ()

    def start(self, host: Host, client: Client) -> None:
        start_counter(host, self.name, "-e", f"PAUSE={PAUSE}", *self.options)

    def mark(self) -> None:
        return None

    def finish(self, host: Host) -> list[str]:
        wrong = []
        if not counts_on(host, self.name):
            wrong.append("it does not count any more")
        if not is_gapless(host, self.name):
            wrong.append("numbers are missing, or there twice")
        return wrong

    def kill(self) -> None:
        pass


@dataclass
class MemoryWriter:
    """tests/move/programs/counters.py: MiB of memory, `hot` of them written all the time."""

    name: str
    mib: int = 16
    hot: int = 1

    def start(self, host: Host, client: Client) -> None:
        host.run([
            MIGRATE, "run", "-d", "--name", self.name, "-v", "/usr:/usr:ro",
            "-v", f"{CHECKOUT}/tests/move/programs:/bench:ro", IMAGE,
            "/usr/bin/python3", "-I", "-S", "/bench/counters.py", str(self.mib), str(self.hot),
        ])  # fmt: skip

    def mark(self) -> None:
        return None

    def finish(self, host: Host) -> list[str]:
        wrong = [line for line in self._log(host) if "WRONG" in line]
        if not wrong and not self._goes_on(host):
            wrong.append("it does not write any more")
        return wrong[:5]

    def _goes_on(self, host: Host) -> bool:
        begun = len(self._log(host))
        return eventually(lambda: len(self._log(host)) > begun)

    def _log(self, host: Host) -> list[str]:
        return list(host.run([MIGRATE, "logs", self.name]).stdout.splitlines())

    def kill(self) -> None:
        pass
