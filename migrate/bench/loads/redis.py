"""redis: a redis-server full of known values, under redis-benchmark and a client that counts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrate.bench.errors import BenchImpossible
from migrate.bench.hosts import Site
from migrate.bench.loads.load import ADDRESS, Pinger, Samples, Seen, remove, start
from migrate.bench.watching import PROGRAMS

PORT = 6379
CONNECTIONS = 50
VALUE = 1000  # bytes; workloads/redisdata.py writes such values
KEYS_PER_MIB = 940  # such values take 1.09 KiB each with their key
CALIBRATION = 50_000  # requests
COUNTER = "pings"
LIMIT = 600.0  # seconds


@dataclass(frozen=True)
class Redis:
    """Data in MiB, and over how many of its keys redis-benchmark writes at random (0: one key)."""

    mib: int = 1024
    spread: int = 0
    kind: str = "text"
    name = "redis"
    unit = "requests/s"

    @property
    def keys(self) -> int:
        """How many values are filled in."""
        return self.mib * KEYS_PER_MIB

    def describe(self) -> str:
        """See `Load`."""
        over = f"{self.spread} keys" if self.spread else "one key"
        return f"redis with {self.mib} MiB, {CONNECTIONS} connections that set {over}"

    @contextmanager
    def started(self, site: Site) -> Iterator[RedisSession]:
        """See `Load`."""
        try:
            start(
                site, "Ready to accept", "/usr/bin/redis-server", "--port", str(PORT),
                "--protected-mode", "no", "--save", "", "--dir", "/tmp",
            )  # fmt: skip
            data(site, self, "fill")
            # Each ping is a write that counts: one that got lost would show.
            with Pinger(site, PORT, f"INCR {COUNTER}") as pinger:
                session = RedisSession(site, self, pinger)
                try:
                    yield session
                finally:
                    session.close()
        finally:
            remove(site)


def data(site: Site, redis: Redis, what: str) -> str:
    """Run `workloads/redisdata.py` at the client; what it prints."""
    program = str(PROGRAMS / "redisdata.py")
    command = [sys.executable, "-I", "-S", program, what, ADDRESS, str(PORT), str(redis.keys)]
    return str(site.client.run([*command, redis.kind], timeout=LIMIT).stdout)


@dataclass(frozen=True)
class Ran:
    """One redis-benchmark, from its start to its end on this machine's monotonic clock."""

    begun: float
    ended: float
    rate: float
    """Requests a second."""
    errors: tuple[str, ...]


def benchmark(site: Site, redis: Redis, requests: int) -> Ran:
    """One redis-benchmark at the client; it ends at the first error."""
    spread = ["-r", str(min(redis.spread, redis.keys))] if redis.spread else []
    begun = time.monotonic()
    done = site.client.run(
        ["redis-benchmark", "-h", ADDRESS, "-p", str(PORT), "-c", str(CONNECTIONS),
         "-n", str(requests), "-d", str(VALUE), "-t", "set", "--csv", *spread],
        check=False, timeout=LIMIT, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Ran(begun, time.monotonic(), *outcome(done.stdout, done.returncode))


class Pressure:
    """One redis-benchmark after the other, until one fails or all are told to stop.

    Each runs to its own end: only so does it tell whether all requests were answered.
    """

    def __init__(self, site: Site, redis: Redis, requests: int) -> None:
        self._site, self._redis, self._requests = site, redis, requests
        self._over = threading.Event()
        self._ran: list[Ran] = []
        self._thread = threading.Thread(target=self._run, name="redis-benchmark", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set() and not (self._ran and self._ran[-1].errors):
            self._ran.append(benchmark(self._site, self._redis, self._requests))

    def stop(self) -> list[Ran]:
        """All that ran; the last one ends first."""
        self._over.set()
        self._thread.join()
        return self._ran


def outcome(told: str, status: int) -> tuple[float, tuple[str, ...]]:
    """Requests a second, and complaints, of what `redis-benchmark --csv` has printed."""
    rate, errors = 0.0, []
    for line in told.replace("\r", "\n").splitlines():
        if line.startswith('"SET'):
            rate = float(line.split('","')[1])
        elif line.strip() and not line.startswith('"test"'):
            errors.append(line.strip())
    if status or not rate:
        errors.append(f"redis-benchmark ended with status {status}")
    return rate, tuple(errors)


class RedisSession:
    """A Redis that was filled; redis-benchmark runs from each `begin` to beyond its `end`."""

    def __init__(self, site: Site, redis: Redis, pinger: Pinger) -> None:
        self._site, self._redis, self._pinger = site, redis, pinger
        self.usual = self.throughput(CALIBRATION)
        """Requests a second when nothing else goes on."""
        self._seconds = redis.mib / 100 + 3  # how long a move may take
        self._begun = 0.0
        self._pressure: Pressure | None = None

    def throughput(self, requests: int) -> float:
        """Requests a second of one redis-benchmark; raises BenchImpossible when it fails."""
        ran = benchmark(self._site, self._redis, requests)
        if ran.errors:
            raise BenchImpossible("redis-benchmark failed", cause=ran.errors[0])
        return ran.rate

    def close(self) -> None:
        """No redis-benchmark runs any more."""
        if self._pressure:
            self._pressure.stop()

    def begin(self) -> None:
        """See `Session`."""
        self._pressure = Pressure(self._site, self._redis, int(self.usual * self._seconds))
        time.sleep(0.5)  # its connections are there
        self._pinger.mark()
        self._begun = time.monotonic()

    def end(self, until: float) -> Seen:
        """See `Session`; the rate is that of the redis-benchmark that was on across the pause."""
        assert self._pressure
        seen = self._pinger.mark()
        self._seconds = max(self._seconds, 1.5 * (time.monotonic() - self._begun))
        ran = self._pressure.stop()
        across = [one for one in ran if one.begun < until - seen["gap"] and until < one.ended]
        errors = tuple(error for one in ran for error in one.errors)
        if not across:
            errors += ("no redis-benchmark was on across the pause",)
        return Seen(seen["gap"], None, across[0].rate if across else None, errors)

    def latency(self) -> Samples:
        """See `Session`."""
        return self._pinger.latency()

    def wrong(self) -> int:
        """Keys that are not what they must be, keys too many or too few, and pings not counted."""
        wrong = int(json.loads(data(self._site, self._redis, "check"))["wrong"])
        seen = self._pinger.mark()
        count = int(self._pinger.ask("DBSIZE").lstrip(":"))
        extra = 1 if self._redis.spread else 2  # the counter; the one key of redis-benchmark
        uncounted = int(seen["answer"].lstrip(":")) - int(seen["pings"])
        return wrong + abs(count - self._redis.keys - extra) + abs(uncounted)
