"""nginx with a slow download, and PostgreSQL under pgbench: as the tests of evacuations have them.

A pinger measures the gap; what the load's own clients find wrong shows at the end, when they end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from migrate.bench.errors import BenchMissed
from migrate.bench.hosts import Site, of_checkout
from migrate.bench.loads.load import ADDRESS, NAME, Pinger, Samples, Seen, remove

WORKLOADS = "tests.evacuate.workloads"
COUNT = "UPDATE bench_pings SET n = n + 1 RETURNING n"


class ServerSession:
    """A server, its clients and a pinger."""

    def __init__(self, pinger: Pinger, server: Any) -> None:
        self._pinger, self._server = pinger, server
        self._begun, self._pings = 0.0, 0

    def begin(self) -> None:
        """See `Session`."""
        self._pings = int(self._pinger.mark()["pings"])
        self._begun = time.monotonic()

    def end(self, until: float) -> Seen:
        """See `Session`; the rate is that of the pings."""
        seen = self._pinger.mark()
        awake = max(1e-3, time.monotonic() - self._begun - seen["gap"])
        return Seen(seen["gap"], None, (seen["pings"] - self._pings) / awake)

    def latency(self) -> Samples:
        """See `Session`."""
        return self._pinger.latency()

    def wrong(self) -> int:
        """Pings that were not answered as they must be."""
        return int(self._pinger.mark()["answer"] != "200")


class PostgresSession(ServerSession):
    """Each ping is a transaction that counts."""

    def wrong(self) -> int:
        """Transactions lost, and what is wrong with one that is held open all the time."""
        seen = self._pinger.mark()
        return abs(int(seen["answer"]) - int(seen["pings"])) + len(self._server.look())


@dataclass(frozen=True)
class Nginx:
    """It sends a file slowly, again and again; each copy's checksum is verified."""

    mib: int = 0
    name = "nginx"
    unit = "requests/s"

    def describe(self) -> str:
        """See `Load`."""
        return "nginx with a slow download"

    @contextmanager
    def started(self, site: Site) -> Iterator[ServerSession]:
        """See `Load`."""
        module = of_checkout(f"{WORKLOADS}.nginx")
        with (
            _running(site, module, module.Nginx(NAME, ADDRESS)) as server,
            Pinger(site, module.PORT, "/file", protocol="http") as pinger,
        ):
            yield ServerSession(pinger, server)


@dataclass(frozen=True)
class Postgres:
    """pgbench's own load on it, and a transaction that is held open."""

    mib: int = 0
    name = "postgres"
    unit = "transactions/s"

    def describe(self) -> str:
        """See `Load`."""
        return "PostgreSQL under pgbench"

    @contextmanager
    def started(self, site: Site) -> Iterator[ServerSession]:
        """See `Load`."""
        module = of_checkout(f"{WORKLOADS}.postgres")
        with _running(site, module, module.Postgres(NAME, ADDRESS, site.shared)) as server:
            client = module.Session(site.client, ADDRESS)
            try:
                client.ask("CREATE TABLE bench_pings (n int); INSERT INTO bench_pings VALUES (0);")
            finally:
                client.kill()
            with Pinger(site, module.PORT, COUNT, protocol="postgres") as pinger:
                yield PostgresSession(pinger, server)


@contextmanager
def _running(site: Site, module: Any, server: Any) -> Iterator[Any]:
    """Until the end, when what it says must be right; raises BenchMissed."""
    source = site.pair[0]
    try:
        module.make_image(site.shared, source)
        server.start(source, site.client)
        yield server
        if wrong := server.finish(source):
            raise BenchMissed(f"{server.name} is damaged", cause="; ".join(wrong))
    finally:
        server.kill()
        remove(site)
