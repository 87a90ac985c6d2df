"""network: how much longer a client's silence is than the freeze, by network driver.

A small server runs in a container on one of three test hosts on this machine, and moves to and fro
between two of them; the client is on the third, in the same network, with connections that are
never made anew (`workloads/traffic.py`). Three silences: of a connection on which the client asks
("to"), of one on which the container sends ("from"), and the longest wait for an answer on
connections that were idle for a second before. Each is set against the freeze time that the move
itself reports. The first turn does not count. The drivers take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from migrate.bench import hosts, moving, networksite
from migrate.bench.loads.load import IN_CONTAINER
from migrate.bench.rows import machine
from migrate.bench.series import Series
from migrate.bench.watching import Place, Watching

MUST_HOLD = 0.030
"""Seconds by which the median silence may be longer than the freeze."""
KINDS = ("to", "from", "idle")
SETTLE = 1.2
"""Seconds; what comes within them belongs to the move, and every idle connection has its turn."""
PORT = 7100


@dataclass
class Row:
    """A driver, and one kind of traffic; seconds."""

    driver: str
    kind: str
    gaps: list[float] = field(default_factory=list)
    freezes: list[float] = field(default_factory=list)

    @property
    def excess(self) -> Series:
        """Of each move."""
        pairs = zip(self.gaps, self.freezes, strict=True)
        return Series("excess", tuple(gap - freeze for gap, freeze in pairs))

    @property
    def missed(self) -> bool:
        """Whether it is longer than what must hold."""
        return self.excess.median > MUST_HOLD

    def as_json(self) -> dict[str, Any]:
        """The row as plain values, with what must hold of it (results.Limit)."""
        gap, freeze = Series("gap", tuple(self.gaps)), Series("freeze", tuple(self.freezes))
        return {
            "driver": self.driver, "kind": self.kind, "gap": gap.as_json(),
            "freeze": freeze.as_json(), "excess": self.excess.as_json(),
            "must_hold": {"excess": {"most": MUST_HOLD}},
        }  # fmt: skip


class Client(Watching):
    """`workloads/traffic.py ask` on the client's place; a context manager."""

    def __init__(self, place: Place, address: str) -> None:
        super().__init__(
            place, "traffic.py", "ask", address, str(PORT), lost="the client lost a connection"
        )

    def __enter__(self) -> Self:
        self.expect("connected")
        return self

    def mark(self) -> dict[str, float]:
        """The longest silences since the last mark; raises BenchMissed when a connection ended."""
        return self.order("mark")


def run(
    drivers: Sequence[str], mode: str, runs: int, report: Callable[[str], None],
    link: float | None = None,
) -> Iterator[Row]:  # fmt: skip
    """A row for each driver and kind of traffic; `link`: Mbit/s of the hosts' links."""
    with hosts.site(report, link, ("alpha", "beta", "gamma")) as site:
        for driver in drivers:
            report(f"starting the server in a network of the driver {driver}")
            with networksite.network(site, driver) as place:
                networksite.start(
                    site, place, "ready", "/usr/bin/python3", "-S",
                    f"{IN_CONTAINER}/traffic.py", "serve", str(PORT),
                )  # fmt: skip
                with Client(place, place.address) as client:
                    yield from _take_turns(site, driver, client, mode, runs, report)


def _take_turns(
    site: hosts.Site, driver: str, client: Client, mode: str, runs: int,
    report: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    rows = {kind: Row(driver, kind) for kind in KINDS}
    source, target, _ = site.pair
    for turn in range(runs + 1):
        client.mark()
        moved = moving.move(source, target, site.migrate, mode)
        time.sleep(SETTLE)
        seen = client.mark()
        source, target = target, source
        freeze = moved.result["freeze_seconds"]
        words = ", ".join(f"{kind} {seen[kind] * 1000:.0f}" for kind in KINDS)
        report(
            f"{driver}{'' if turn else ' (not counted)'}: frozen {freeze * 1000:.0f} ms, "
            f"silence {words} ms, {seen['answers']} answers"
        )
        if turn:
            for kind in KINDS:
                rows[kind].gaps.append(seen[kind])
                rows[kind].freezes.append(freeze)
    return list(rows.values())


def as_json(rows: Sequence[Row], mode: str, link: float | None) -> dict[str, Any]:
    """The result with the machine it was taken on."""
    return {
        "benchmark": "network", "mode": mode, "link_mbit": link,
        "rows": [row.as_json() for row in rows], **machine(),
    }  # fmt: skip


def missed(rows: Sequence[Row]) -> list[str]:
    """A sentence for everything that must hold and does not."""
    return [
        f"{row.driver}, {row.kind}: {row.excess.median * 1000:.0f} ms more than the freeze, "
        f"{MUST_HOLD * 1000:.0f} must hold"
        for row in rows
        if row.missed
    ]
