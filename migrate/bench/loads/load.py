"""The interface of what moves, and what all loads share: a container and a pinger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import migrate
from migrate.bench.errors import BenchImpossible
from migrate.bench.hosts import IMAGE, Site
from migrate.bench.watching import Watching

NAME = "load"
"""The container."""
ADDRESS = "10.77.0.120"
START_LIMIT = 120.0  # seconds
PACKAGE = Path(migrate.__file__).parent
IN_CONTAINER = "/bench/migrate/bench/workloads"


@dataclass(frozen=True)
class Seen:
    """What was seen from `begin` to `end`; times in seconds."""

    gap: float
    """The client's longest time without an answer."""
    tick: float | None = None
    """The load's own longest time between two ticks; None if it has no clock."""
    rate: float | None = None
    """What it did a second, in its unit."""
    errors: tuple[str, ...] = ()
    """What a client complained of."""


Samples = tuple[tuple[float, float], ...]
"""(when a ping was sent, seconds until its answer); times from the end of the longest gap."""


class Session(Protocol):
    """A load that runs, and its clients, who never connect anew."""

    def begin(self) -> None:
        """Something is about to happen: watch from here on."""

    def end(self, until: float) -> Seen:
        """What was seen since `begin`; raises BenchMissed when the pinger lost its connection.

        A client that was done before `until` (monotonic), and so proves nothing, is an error.
        """
        ...

    def latency(self) -> Samples:
        """The client's pings around the longest gap since `begin`; asked before `end`."""
        ...

    def wrong(self) -> int:
        """How many pieces of its content (pages, keys) are not what they must be."""
        ...


class Load(Protocol):
    """What moves; equal if it is the same load."""

    @property
    def name(self) -> str:
        """A word for its kind."""
        ...

    @property
    def mib(self) -> int:
        """Memory in MiB."""
        ...

    @property
    def unit(self) -> str:
        """What its rate counts."""
        ...

    def describe(self) -> str:
        """It and its parameters, in a few words."""
        ...

    def started(self, site: Site) -> AbstractContextManager[Session]:
        """It runs in the container NAME on the site's first host, and is watched by the client."""
        ...


def start(
    site: Site, ready: str, *command: str, name: str = NAME, address: str = ADDRESS,
    volumes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Run `command` in the container, and wait until it has said the word `ready`.

    The directory IN_CONTAINER holds the programs, which can import `migrate`. `volumes`: more of
    them, as `migrate run -v` takes them.
    """
    host = site.pair[0]
    host.run([
        site.migrate, "run", "-d", "--name", name, "--network", "bridge", "--bridge", "br-lan",
        "--ip", f"{address}/24", "-v", "/usr:/usr:ro", "-v", f"{PACKAGE}:/bench/migrate:ro",
        *(word for volume in volumes for word in ("-v", volume)), "-e", "PYTHONPATH=/bench", IMAGE,
        *command,
    ])  # fmt: skip
    deadline = time.monotonic() + START_LIMIT
    while ready not in host.run([site.migrate, "logs", name]).stdout:
        if time.monotonic() > deadline:
            raise BenchImpossible("the load did not start", cause=f"tried for {START_LIMIT:g} s")
        time.sleep(0.1)


def remove(site: Site) -> None:
    """End and remove the container, wherever it is."""
    for host in site.pair:
        host.run([site.migrate, "rm", "-f", NAME], check=False)


class Pinger(Watching):
    """`workloads/pinger.py` at the client, over one connection; a context manager."""

    def __init__(
        self, site: Site, port: int, ping: str, address: str = ADDRESS, protocol: str = "line"
    ) -> None:  # fmt: skip
        super().__init__(
            site.client, "pinger.py", address, str(port), ping, protocol,
            lost="the client lost its connection",
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.expect("connected")
        return self

    def mark(self) -> dict[str, Any]:
        """`gap`, `pings` and `answer` (workloads/pinger.py); it begins anew."""
        return self.order("mark")

    def latency(self) -> Samples:
        """The pings around the longest gap since the last mark."""
        return tuple((sent, took) for sent, took in self.order("latency")["latency"])

    def ask(self, line: str) -> str:
        """The server's answer to a line."""
        return str(self.order(f"ask {line}")["answer"])
