"""Runs the sides of `migrate bench peers` in turns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import migrate
from migrate.bench import hosts, usage
from migrate.bench.errors import BenchImpossible, BenchMissed
from migrate.bench.loads.memory import Memory
from migrate.bench.peers.client import Client
from migrate.bench.peers.ours import Ours
from migrate.bench.peers.place import PeerHost, cached_root, versions
from migrate.bench.peers.podman import Podman, bring_image
from migrate.bench.peers.rows import Once, Row
from migrate.bench.peers.runc import Runc
from migrate.bench.peers.side import WORK, Shipping, Side
from migrate.criu.place import home

MODE = "pre-copy"
PEERS: tuple[Side, ...] = (
    Podman(), Podman("zstd"), Podman(before=True), Runc(), Runc("pre-dump"), Runc("lazy-pages"),
)  # fmt: skip
AFTER = 0.3
"""Seconds; what comes within them after a move belongs to it, too."""


@dataclass
class _Turns:
    moves: list[Once] = field(default_factory=list)
    impossible: str = ""


@dataclass(frozen=True)
class Ground:
    """The hosts with the peers on them, the sides, and what the peers say of themselves."""

    places: tuple[PeerHost, PeerHost]
    sides: tuple[Side, ...]
    client: Any
    peers: dict[str, str]


@contextlib.contextmanager
def prepared(
    peers: Sequence[Side], report: Callable[[str], None], link: float | None = None
) -> Iterator[Ground]:
    """Two hosts with all that the sides need; `link`: Mbit/s of the hosts' links."""
    report("the peers' root (made of Debian's packages at the first time)")
    root = cached_root()
    with hosts.site(report, link) as site:
        archive = site.shared / "bench.tar"
        seen = (archive.parent, home(), Path(migrate.__file__).parent)
        places = tuple(PeerHost.made(host, root, seen) for host in site.pair)
        bring_image(places, str(archive), str(archive.with_name("podman.tar")))
        for place in places:
            place.run("sh", "-c", f"mkdir -p {WORK}/rootfs && tar -C {WORK}/rootfs -xf {archive}")
        first, second = places
        with (
            Shipping(first.host, second.host).connected(),
            Shipping(second.host, first.host).connected(),
        ):
            sides = (Ours(MODE, site.migrate), *peers)
            yield Ground((first, second), sides, site.client, versions(first))


def run(
    ground: Ground, loads: Sequence[Memory], runs: int, report: Callable[[str], None]
) -> Iterator[Row]:  # fmt: skip
    """The rows of each load; the sides take turns, and go there and back in turns, too."""
    for load in loads:
        turns = {side: _Turns() for side in ground.sides}
        for turn in range(runs + 1):
            source, target = ground.places[:: 1 if turn % 2 == 0 else -1]
            for side, done in turns.items():
                if not done.impossible:
                    _take_turn(ground, side, load, (source, target), done, turn, report)
        for side, done in turns.items():
            yield Row(side.name, side.is_peer, load, tuple(done.moves), done.impossible)


def _take_turn(
    ground: Ground, side: Side, load: Memory, way: tuple[PeerHost, PeerHost], done: _Turns,
    turn: int, report: Callable[[str], None],
) -> None:  # fmt: skip
    """One more move; a peer that fails is told with its reason, and is not asked again."""
    label = f"{load.describe()}, {side.name}{'' if turn else ' (not counted)'}"
    try:
        once = _move(ground, side, load, *way)
    except (BenchImpossible, BenchMissed) as error:
        if not side.is_peer:
            raise
        done.impossible = f"{error.what}: {error.cause}"
        done.moves.clear()
        report(f"{label}: {done.impossible}")
        return
    if turn:
        done.moves.append(once)
    report(f"{label}: {once.told()}")


def _move(
    ground: Ground, side: Side, load: Memory, source: PeerHost, target: PeerHost
) -> Once:  # fmt: skip
    """A fresh container goes from one to the other, and its content is checked."""
    addresses = [place.host.address for place in (source, target)]
    try:
        with Client(ground.client, addresses) as client:
            side.start(source, load)
            client.wait()
            client.ask("r")
            client.mark()
            sent, begun = usage.sent_bytes(source.host), time.monotonic()
            parts = side.move(source, target)
            whole = time.monotonic() - begun
            time.sleep(AFTER)
            gap, sent = client.mark()["gap"], usage.sent_bytes(source.host) - sent
            tick = int(client.ask("r").split()[0]) / 1e6
            return Once(gap, tick, whole, sent, parts, int(client.ask("v")))
    finally:
        for place in ground.places:
            side.remove(place)
