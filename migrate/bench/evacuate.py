"""evacuate: a host emptied over a slow link, against the time that its bytes take on that link.

Workload: containers that hold random memory (it can't be compressed), from half to one and a half
times `--mib`, each with a client that pings it from another host, every millisecond, over one
connection. A fourth host is the operator's: there
`migrate evacuate` empties the first host into the two others; then `--return` brings all back,
which does not count. Links of all hosts have the same rate. The figures: wall time of the whole
command, survey, plan and checks included; the bytes that it sent over the rate of the link; and the
longest gap of each client.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import IN_CONTAINER, Pinger, start
from migrate.bench.loads.memory import PORT
from migrate.bench.rows import machine
from migrate.bench.series import Series

MUST_HOLD = 1.3
"""The whole command over the time of its bytes on the link, at most."""
LINK_BOUND = 5.0
"""Seconds of the link for each container, from which on the whole is bound by it: a move has some
two seconds of work of its own, whatever it sends."""
LINK = 100.0  # Mbit/s
LIMIT = 1800.0  # seconds that one command may take


@dataclass(frozen=True)
class Outcome:
    """Seconds of each counted evacuation, and of its bytes; gaps and freezes of all containers."""

    containers: int
    mib: int
    parallel: int
    link: float
    wall: Series
    least: Series
    """Bytes sent over the rate of the link."""
    gaps: tuple[float, ...]
    freezes: tuple[float, ...]
    wrong: int
    """Pages that are not what they must be, at the end."""

    @property
    def ratio(self) -> Series:
        """Of each run."""
        pairs = zip(self.wall.runs, self.least.runs, strict=True)
        return Series("ratio", tuple(wall / least for wall, least in pairs))

    @property
    def limit(self) -> float | None:
        """What the ratio may be at most; None where the link is not what it waits for."""
        return MUST_HOLD if self.least.median >= LINK_BOUND * self.containers else None

    def as_json(self) -> dict[str, Any]:
        """The result with the machine it was taken on."""
        return {
            "benchmark": "evacuate", "containers": self.containers, "mib": self.mib,
            "parallel": self.parallel, "link_mbit": self.link, "wall": self.wall.as_json(),
            "least": self.least.as_json(), "ratio": self.ratio.as_json(),
            "gap": Series("gap", self.gaps).as_json(),
            "freeze": Series("freeze", self.freezes).as_json(), "wrong": self.wrong,
            "link_bound": self.limit is not None,
            **({"must_hold": self.limit} if self.limit else {}), **machine(),
        }  # fmt: skip


@dataclass(frozen=True)
class Guests:
    """The containers' names and their clients."""

    names: tuple[str, ...]
    pingers: tuple[Pinger, ...]

    def gaps(self) -> list[float]:
        """Of each client since the last time."""
        return [float(pinger.mark()["gap"]) for pinger in self.pingers]


def run(
    containers: int, mib: int, parallel: int, link: float, runs: int,
    report: Callable[[str], None],
) -> Outcome:  # fmt: skip
    """Evacuate `runs` times; there and back again."""
    walls, leasts, gaps, freezes = [], [], [], []
    names = ("alpha", "beta", "gamma", "desk")
    with hosts.site(report, link, names) as site, _started(site, containers, mib, report) as guests:
        for turn in range(runs):
            guests.gaps()
            begun = time.monotonic()
            told = _command(site, "--parallel", str(parallel))
            walls.append(time.monotonic() - begun)
            gaps += guests.gaps()
            leasts.append(told["bytes_sent"] / (link * 125_000))
            freezes += [o["freeze_seconds"] for o in told["outcomes"]]
            middle, worst = statistics.median(gaps) * 1000, max(gaps) * 1000
            report(
                f"run {turn + 1}: {walls[-1]:.1f} s, {leasts[-1]:.1f} s for the bytes alone; "
                f"gaps {middle:.0f} ms at the median, {worst:.0f} at most"
            )
            _command(site, "--return", "--parallel", str(parallel))
        wrong = sum(int(pinger.ask("v")) for pinger in guests.pingers)
    return Outcome(
        containers, mib, parallel, link, Series("evacuate", tuple(walls)),
        Series("bytes over link", tuple(leasts)), tuple(gaps), tuple(freezes), wrong,
    )  # fmt: skip


def sizes(containers: int, mib: int) -> list[int]:
    """MiB of each: evenly from half to one and a half times the average."""
    steps = max(1, containers - 1)
    return [max(1, round(mib * (0.5 + number / steps))) for number in range(containers)]


def _command(site: hosts.Site, *options: str) -> dict[str, Any]:
    """The report of one evacuation of the first host; raises BenchImpossible when it fails."""
    alpha, *others, desk = site.pair
    targets = [word for host in others for word in ("--to", host.ssh_target)]
    if "--return" in options:
        targets = []
    done = desk.run(
        [site.migrate, "evacuate", alpha.ssh_target, *targets, *options, "--json"],
        check=False, timeout=LIMIT,
    )  # fmt: skip
    reports = [json.loads(line).get("report") for line in done.stdout.splitlines()]
    told = next(filter(None, reports), None)
    if done.returncode or told is None:
        raise BenchImpossible("the evacuation failed", cause=done.stderr[-600:])
    return dict(told)


@contextlib.contextmanager
def _started(
    site: hosts.Site, containers: int, mib: int, report: Callable[[str], None]
) -> Iterator[Guests]:
    report(f"starting {containers} containers of {mib} MiB on average")
    names = [f"guest-{number}" for number in range(containers)]
    addresses = [f"10.77.0.{100 + number}" for number in range(containers)]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, site, names)
        for name, address, size in zip(names, addresses, sizes(containers, mib), strict=True):
            start(
                site, "ready", "/usr/bin/python3", "-S", f"{IN_CONTAINER}/memory.py", str(size),
                "0", "random", str(PORT), name=name, address=address,
            )  # fmt: skip
        pingers = [stack.enter_context(Pinger(site, PORT, "p", a)) for a in addresses]
        yield Guests(tuple(names), tuple(pingers))


def _remove(site: hosts.Site, names: Sequence[str]) -> None:
    for host in site.pair:
        host.run([site.migrate, "rm", "-f", *names], check=False)
