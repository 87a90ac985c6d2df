"""downtime: how long a container is away while it moves, by what runs in it and by mode.

A load (`migrate/bench/loads`) runs in a container on one of two test hosts on this machine, and a
client on a third place asks it again and again over one TCP connection. It moves to and fro over
SSH, in each mode in turn; the first turn does not count. Three clocks: the service gap (the
client's longest time without an answer), the tick (the load's own longest time between two ticks,
where it has a clock), and the freeze time that `migrate move` reports. Where memory is filled in
after the thaw, the fill is timed from outside. After each move all content is checked. When asked
for, a row keeps the client's pings around the gap of one of its moves, the middle one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from migrate.bench import hosts, moving
from migrate.bench.filled import FillWatch
from migrate.bench.loads.load import Load, Samples, Seen, Session
from migrate.bench.rows import Row, series_of
from migrate.bench.series import Series
from migrate.move.modes import MODES

NOT_MEASURED = ("auto", "cold")
AFTER = 0.5
"""Seconds; what comes within them after a move belongs to it, too."""


def measured_modes() -> tuple[str, ...]:
    """The modes in which memory moves."""
    return tuple(mode for mode in MODES if mode not in NOT_MEASURED)


@dataclass(frozen=True)
class Once:
    """One move, as all clocks saw it."""

    seen: Seen
    filled: float | None
    moved: moving.Moved
    wrong: int
    latency: Samples = ()


@dataclass
class Turns:
    """The moves of one load in one mode."""

    counted: list[Once] = field(default_factory=list)
    wrong: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, once: Once, counts: bool) -> None:
        """What is wrong is told of every move, also of those that do not count."""
        self.wrong += once.wrong
        self.errors += once.seen.errors
        if counts:
            self.counted.append(once)


def run(
    loads: list[Load], modes: list[str], runs: int, report: Callable[[str], None],
    link: float | None = None, *, latency: bool = False,
) -> Iterator[Row]:  # fmt: skip
    """A row for each load and mode; the modes take turns. `link`: Mbit/s of the hosts' links.

    `latency`: keep the pings around one gap of each.
    """
    with hosts.site(report, link) as site:
        for load in loads:
            report(f"starting {load.describe()}")
            with load.started(site) as session:
                for row in take_turns(site, session, load, modes, runs, report, latency=latency):
                    yield replace(row, link=link)


def take_turns(
    site: hosts.Site, session: Session, load: Load, modes: list[str], runs: int,
    report: Callable[[str], None], *, latency: bool = False,
) -> Iterator[Row]:  # fmt: skip
    """The rows of a load that runs on the site's first host; afterwards it may be on any."""
    done = {mode: Turns() for mode in modes}
    source, target = site.pair
    for turn in range(runs + 1):
        for mode in modes:
            once = move(source, target, session, site.migrate, mode, latency=latency)
            source, target = target, source
            done[mode].add(once, counts=turn > 0)
            report(f"{load.describe()}, {mode}{'' if turn else ' (not counted)'}: {told(once)}")
    for mode in modes:
        yield _row(mode, load, done[mode])


def told(once: Once) -> str:
    """One move in a line."""
    words = f"gap {once.seen.gap * 1000:.0f} ms, "
    words += f"frozen {once.moved.result['freeze_seconds'] * 1000:.0f} ms, "
    if once.filled is not None:
        words += f"filled after {once.filled:.2f} s, "
    return words + f"{once.wrong} wrong" + "".join(f"; {error}" for error in once.seen.errors)


def move(
    source: Any, target: Any, session: Session, migrate: str, mode: str, *, latency: bool = False
) -> Once:  # fmt: skip
    """One move, and the check of all content behind it."""
    session.begin()
    with FillWatch(target) as watch:
        moved = moving.move(source, target, migrate, mode)
        watch.wait(AFTER)
    samples = session.latency() if latency else ()
    seen = session.end(moved.back)
    return Once(seen, watch.seconds_after(moved.back), moved, session.wrong(), samples)


def _row(mode: str, load: Load, turns: Turns) -> Row:
    done = turns.counted
    results = [once.moved.result for once in done]
    phases = [result["freeze_phases"] for result in results]
    middle = sorted(done, key=lambda once: once.seen.gap)[len(done) // 2]
    return Row(
        mode=mode, load=load,
        gap=Series("service gap", tuple(once.seen.gap for once in done)),
        tick=series_of("tick", [once.seen.tick for once in done]),
        freeze=Series("freeze", tuple(result["freeze_seconds"] for result in results)),
        filled=series_of("filled", [once.filled for once in done]),
        rate=series_of("rate", [once.seen.rate for once in done]),
        phases={
            name: statistics.median(part.get(name, 0.0) for part in phases) for name in phases[-1]
        },
        bytes_sent=results[-1]["bytes_sent"], memory_bytes=results[-1]["memory_bytes"],
        rounds=done[-1].moved.rounds, wrong=turns.wrong, errors=tuple(turns.errors),
        latency=middle.latency,
    )  # fmt: skip
