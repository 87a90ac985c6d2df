"""tracked: what a load loses while its written pages are tracked, against itself untracked.

Loads: redis with 1 GiB under redis-benchmark, once over one key and once over all of its keys (each
page's first write in a round costs the most, and here nearly every write is one); and the memory
writer. A: nobody looks. B: the tracker of a move collects the written pages, a round a second;
nothing is read or sent, that would be the cost of the copying. A and B take turns on one container
on one test host. The figures: requests a second, or pages a second and the longest tick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import NAME, Load
from migrate.bench.loads.memory import Memory, PagesSession
from migrate.bench.loads.redis import Redis, RedisSession
from migrate.bench.rows import machine
from migrate.bench.series import Series

MUST_HOLD = 0.10
"""What redis may lose of its requests a second, at most."""
SECONDS = 3.0
"""Of one sample, about."""


@dataclass(frozen=True)
class Pair:
    """One figure of one load without and with tracking."""

    load: Load
    unit: str
    untracked: Series
    tracked: Series
    round_seconds: float
    """The longest round but the first."""
    round_bytes: int
    """Of pages, that the largest round but the first has found."""

    @property
    def ratio(self) -> Series:
        """Tracked over untracked, of each pair: what both have in common cancels out."""
        pairs = zip(self.tracked.runs, self.untracked.runs, strict=True)
        return Series("ratio", tuple(tracked / untracked for tracked, untracked in pairs))

    @property
    def missed(self) -> bool:
        """Whether redis is slower than what must hold."""
        return isinstance(self.load, Redis) and self.ratio.median < 1 - MUST_HOLD

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        limit = {"must_hold": {"ratio": {"least": 1 - MUST_HOLD}}}
        return {
            "what": self.load.describe(), "unit": self.unit, "ratio": self.ratio.as_json(),
            "untracked": self.untracked.as_json(), "tracked": self.tracked.as_json(),
            "round_seconds": self.round_seconds, "round_bytes": self.round_bytes,
            **(limit if isinstance(self.load, Redis) else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """All figures."""

    pairs: tuple[Pair, ...]

    def as_json(self) -> dict[str, Any]:
        """The result with the machine it was taken on."""
        return {
            "benchmark": "tracked", "pairs": [pair.as_json() for pair in self.pairs],
            "must_hold": MUST_HOLD, **machine(),
        }  # fmt: skip


Sample = Callable[[], dict[str, float]]
"""Measures once: figures by unit."""


def run(
    mib: int, runs: int, report: Callable[[str], None], seconds: float = SECONDS
) -> Outcome:  # fmt: skip
    """Take turns for `runs` counted pairs after one that does not count; `mib` of each load.

    `seconds`: how long one sample takes, about.
    """
    redis, writer = Redis(mib), Memory(mib, 10_000)
    found: list[Pair] = []
    with hosts.site(report) as site:
        for load in (redis, Redis(mib, redis.keys)):
            report(f"starting {load.describe()}")
            with load.started(site) as session:
                found += _take_turns(site, load, _requests(session, seconds), runs, report)
        report(f"starting {writer.describe()}")
        with writer.started(site) as pages:
            found += _take_turns(site, writer, _pages(pages, seconds), runs, report)
    return Outcome(tuple(found))


def _requests(session: RedisSession, seconds: float) -> Sample:
    requests = int(session.usual * seconds)
    return lambda: {"requests/s": session.throughput(requests)}


def _pages(session: PagesSession, seconds: float) -> Sample:
    def sample() -> dict[str, float]:
        session.begin()
        time.sleep(seconds)
        seen = session.end(time.monotonic())
        return {"pages/s": seen.rate or 0.0, "ms, longest tick": (seen.tick or 0.0) * 1000}

    return sample


def _take_turns(
    site: hosts.Site, load: Load, sample: Sample, runs: int, report: Callable[[str], None]
) -> list[Pair]:
    plain, tracked, rounds = [], [], []
    for turn in range(runs + 1):
        plain.append(sample())
        with _tracking(site) as told:
            tracked.append(sample())
        rounds.append(told)
        words = ", ".join(
            f"{plain[-1][unit]:.0f} / {v:.0f} {unit}" for unit, v in tracked[-1].items()
        )
        report(f"{load.describe()}, untracked / tracked{'' if turn else ' (not counted)'}: {words}")
    return [
        Pair(
            load, unit,
            Series("untracked", tuple(one[unit] for one in plain[1:])),
            Series("tracked", tuple(one[unit] for one in tracked[1:])),
            max((s for one in rounds for s in one["seconds"][1:]), default=0.0),
            max((size for one in rounds for size in one["bytes"][1:]), default=0),
        )
        for unit in plain[0]
    ]  # fmt: skip


@contextmanager
def _tracking(site: hosts.Site) -> Iterator[dict[str, Any]]:
    """Rounds go on within; afterwards the value holds what they were."""
    told: dict[str, Any] = {}
    child = site.pair[0].popen(
        [sys.executable, "-m", "migrate.bench.tracking", NAME],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    first = child.stdout.readline()
    if first.strip() != "tracking":
        raise BenchImpossible("the load can't be tracked", cause=first + child.communicate()[0])
    try:
        yield told
    finally:
        out, _ = child.communicate("\n")
    if child.returncode:
        raise BenchImpossible("the tracking broke off", cause=out)
    told.update(json.loads(out))
