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
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.hosts import Site
from migrate.bench.loads.load import ADDRESS, PROGRAMS, Pinger, Seen, remove, start

PORT = 6379
CONNECTIONS = 50
VALUE = 1000  # bytes; workloads/redisdata.py writes such values
KEYS_PER_MIB = 940  # such values take 1.09 KiB each with their key
CALIBRATION = 100_000  # requests
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
                yield RedisSession(site, self, pinger)
        finally:
            remove(site)


def data(site: Site, redis: Redis, what: str) -> str:
    """Run `workloads/redisdata.py` at the client; what it prints."""
    program = str(PROGRAMS / "redisdata.py")
    command = [sys.executable, "-I", "-S", program, what, ADDRESS, str(PORT), str(redis.keys)]
    return str(site.client.run([*command, redis.kind], timeout=LIMIT).stdout)


class Benchmark:
    """One redis-benchmark at the client, on its way."""

    def __init__(self, site: Site, redis: Redis, requests: int) -> None:
        spread = ["-r", str(min(redis.spread, redis.keys))] if redis.spread else []
        self._process: Any = site.client.popen(
            ["redis-benchmark", "-h", ADDRESS, "-p", str(PORT), "-c", str(CONNECTIONS),
             "-n", str(requests), "-d", str(VALUE), "-t", "set", "--csv", *spread],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._told = ""
        self.ended = 0.0
        """On this machine's monotonic clock."""
        self._thread = threading.Thread(target=self._read, name="redis-benchmark", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self._told = self._process.stdout.read()
        self._process.wait()
        self.ended = time.monotonic()

    def wait(self) -> tuple[float, tuple[str, ...]]:
        """Requests a second, and what it complained of; both are final."""
        self._thread.join(LIMIT)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()
        return outcome(self._told, self._process.returncode)


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
    """A Redis that was filled; redis-benchmark runs from each `begin` to its `end`."""

    def __init__(self, site: Site, redis: Redis, pinger: Pinger) -> None:
        self._site, self._redis, self._pinger = site, redis, pinger
        self.usual = self.throughput(CALIBRATION)
        """Requests a second when nothing else goes on."""
        self._seconds = redis.mib / 100 + 3  # how long a move may take
        self._begun = 0.0
        self._benchmark: Benchmark | None = None

    def throughput(self, requests: int) -> float:
        """Requests a second of one redis-benchmark; raises BenchImpossible when it fails."""
        rate, errors = Benchmark(self._site, self._redis, requests).wait()
        if errors:
            raise BenchImpossible("redis-benchmark failed", cause=errors[0])
        return rate

    def begin(self) -> None:
        """See `Session`."""
        self._benchmark = Benchmark(self._site, self._redis, int(self.usual * self._seconds))
        time.sleep(0.5)  # its connections are there
        self._pinger.mark()
        self._begun = time.monotonic()

    def end(self, until: float) -> Seen:
        """See `Session`; the rate is that of redis-benchmark, its time in the gap included."""
        assert self._benchmark
        seen = self._pinger.mark()
        self._seconds = max(self._seconds, 1.5 * (time.monotonic() - self._begun))
        rate, errors = self._benchmark.wait()
        if self._benchmark.ended < until:
            errors += ("redis-benchmark was done before the container was back",)
        return Seen(seen["gap"], None, rate, errors)

    def wrong(self) -> int:
        """Keys that are not what they must be, keys too many or too few, and pings not counted."""
        wrong = int(json.loads(data(self._site, self._redis, "check"))["wrong"])
        seen = self._pinger.mark()
        count = int(self._pinger.ask("DBSIZE").lstrip(":"))
        extra = 1 if self._redis.spread else 2  # the counter; the one key of redis-benchmark
        uncounted = int(seen["answer"].lstrip(":")) - int(seen["pings"])
        return wrong + abs(count - self._redis.keys - extra) + abs(uncounted)
