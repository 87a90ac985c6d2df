"""Each load through real moves, and what must be noticed: a pause, damage, a lost client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.bench import hosts, moving
from migrate.bench.downtime import take_turns
from migrate.bench.errors import BenchImpossible, BenchMissed
from migrate.bench.loads.load import ADDRESS, NAME, Load, Session
from migrate.bench.loads.memory import Memory
from migrate.bench.loads.redis import PORT, Redis, outcome
from migrate.bench.loads.servers import Postgres
from migrate.bench.loads.tree import Tree
from migrate.bench.report import tracefile
from migrate.bench.workloads.pinger import AROUND
from migrate.move.faultpoint import FILE
from tests.hosts import Host, leftovers, snapshot
from tests.move.faults.holding import arm, processes, stopped

LOADS = (
    Memory(32, 2000, working=8), Memory(32, 0, "text"), Redis(32, 2000),
    Tree(64, 6, 300), Postgres(),
)  # fmt: skip
MIGRATE = Path(sys.executable).with_name("migrate")


def real(test: Callable[..., None]) -> Callable[..., None]:
    """Needs root, CRIU and hosts."""
    return pytest.mark.root(pytest.mark.criu(pytest.mark.hosts(test)))


def measured(test: Callable[..., None]) -> Callable[..., None]:
    """As well, and nothing beside it."""
    return pytest.mark.alone(real(test))


@pytest.fixture(scope="module")
def site() -> Iterator[hosts.Site]:
    """Two hosts and a client; afterwards nothing of them is left on the machine."""
    before = snapshot()
    with hosts.site(print) as made:
        yield made
        seen = set().union(*(m.seen_namespaces for m in (*made.pair, made.client)))
    assert leftovers(before, seen) == []


@measured
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.describe())
def test_a_load_moves_and_keeps_its_content(site: hosts.Site, load: Load) -> None:
    with load.started(site) as session:
        (row,) = take_turns(site, session, load, ["pre-copy"], 1, print, latency=True)
    assert (row.mode, row.load, row.wrong, row.errors) == ("pre-copy", load, 0, ())
    assert row.freeze.median > 0.01
    assert row.freeze.median - 0.05 < row.gap.median < row.freeze.median + 1
    assert row.filled is not None
    # The ping that was on its way when the container froze; a gap begins with the answer before it.
    longest = max(took for _, took in row.latency)
    assert row.gap.median - 0.05 < longest <= row.gap.median
    assert min(sent for sent, _ in row.latency) < -row.gap.median
    assert max(sent for sent, _ in row.latency) > 0.1
    assert len(row.latency) <= 2 * AROUND + 1
    assert len(row.rounds) >= 2
    assert row.rounds[0] > load.mib << 19
    assert row.rate is not None
    told = json.loads(json.dumps(row.as_json()))
    assert told["load"]["mib"] == load.mib
    if isinstance(load, Redis | Postgres):
        assert row.tick is None
        assert row.rate.median > (1000 if isinstance(load, Redis) else 20)
    else:
        assert row.tick is not None
        assert 0 < row.tick.median < row.gap.median + 0.05
    if load == Memory(32, 0, "text"):
        assert row.sent_share < 0.45
        assert sum(row.rounds[1:]) < 0.1 * row.rounds[0]


class Sabotage:
    """While entered: whoever has frozen the container in a move sleeps for so many seconds."""

    def __init__(self, pair: tuple[Host, ...], seconds: float) -> None:
        self._pair, self._seconds = pair, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sabotage", daemon=True)
        self.struck = 0

    def __enter__(self) -> Sabotage:
        self._arm()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        for host in self._pair:
            host.run(["rm", "-f", f"/run/migrate/{FILE}"])

    def _arm(self) -> None:
        """Only the source of a move reaches this point, whichever host it is."""
        for host in self._pair:
            arm(host, "frozen")

    def _watch(self) -> None:
        while not self._over.wait(0.001):
            for pid in [p for host in self._pair for p in stopped(processes(host, "move"))]:
                time.sleep(self._seconds)
                self.struck += 1
                os.kill(pid, signal.SIGCONT)
                self._arm()


SLEEP = 0.1


@measured
def test_a_hidden_sleep_in_the_pause_shows_in_every_clock(site: hosts.Site) -> None:
    """The rows of `bench downtime`, without and with the sleep, in turns.

    Least against least: what else the machine does only adds to either.
    """
    load, honest, late = Memory(16), [], []

    def least() -> Iterator[tuple[str, float, float]]:
        for clock in ("gap", "tick", "freeze"):
            before, after = (
                min(min(getattr(row, clock).runs) for row in rows) for rows in (honest, late)
            )
            yield clock, before, after

    with load.started(site) as session:
        for turn in range(6):
            if turn >= 2 and all(SLEEP - 0.04 < a - b < SLEEP + 0.15 for _, b, a in least()):
                break
            honest += take_turns(site, session, load, ["pre-copy"], 1, print)
            with Sabotage(site.pair, SLEEP) as sabotage:
                late += take_turns(site, session, load, ["pre-copy"], 1, print)
            assert sabotage.struck == 2
    assert min(row.phases["freeze"] for row in late) > SLEEP

    for clock, before, after in least():
        assert SLEEP - 0.04 < after - before < SLEEP + 0.15, (clock, before, after)


@real
def test_the_pause_of_a_real_trace(site: hosts.Site) -> None:
    source, target = site.pair
    with Memory(16).started(site):
        source.run([site.migrate, "move", "--trace", "/root/trace", NAME, target.ssh_target])
        parts = tracefile.read(Path(f"/proc/{source.pid}/root/root/trace"))
    names = {part.name for part in parts}
    assert {"source: dump", "source: restore", "target: move.restore"} <= names
    pause = [part for part in parts if part.name in ("source: freeze", "source: commit")]
    assert pause[0].begun == 0.0
    assert 0.01 < pause[-1].begun + pause[-1].seconds < 30


DAMAGE = """
import sys
regions = []
for line in open(f"/proc/{sys.argv[1]}/maps"):
    fields = line.split()
    start, end = (int(word, 16) for word in fields[0].split("-"))
    if fields[1].startswith("rw") and len(fields) == 5:
        regions.append((end - start, start))
with open(f"/proc/{sys.argv[1]}/mem", "r+b", buffering=0) as memory:
    memory.seek(max(regions)[1] + 7 * 4096 + 1000)
    memory.write(b"damage")
"""


@real
def test_one_damaged_page_is_found(site: hosts.Site) -> None:
    host = site.pair[0]
    with Memory(16, 0).started(site) as session:
        assert session.wrong() == 0
        told = json.loads(host.run([site.migrate, "inspect", NAME]).stdout)
        host.run([sys.executable, "-c", DAMAGE, str(told["status"]["pid"])])
        assert session.wrong() == 1


@real
@pytest.mark.parametrize("interpreted", [False, True])
def test_a_process_of_the_tree_that_has_died_is_found(site: hosts.Site, interpreted: bool) -> None:
    host = site.pair[0]
    with Tree(32, 4, 100, interpreted=interpreted).started(site) as session:
        assert session.wrong() == 0
        pid = json.loads(host.run([site.migrate, "inspect", NAME]).stdout)["status"]["pid"]
        host.run(["sh", "-c", f"kill -9 $(cut -d' ' -f1 /proc/{pid}/task/{pid}/children)"])
        assert session.wrong() > 0


def say_to_redis(site: hosts.Site, *words: str) -> None:
    site.client.run(["redis-cli", "-h", ADDRESS, "-p", str(PORT), *words])


@real
def test_lost_and_wrong_keys_of_redis_are_found(site: hosts.Site) -> None:
    with Redis(16).started(site) as session:
        assert session.wrong() == 0
        say_to_redis(site, "DECR", "pings")  # as if one write had been lost
        assert session.wrong() == 1
        say_to_redis(site, "SET", "key:000000000011", "x")
        assert session.wrong() == 2
        say_to_redis(site, "DEL", "key:000000000012")
        assert session.wrong() == 4  # a wrong value, and a key too few


def end_and_check(session: Session) -> None:
    """Who has lost its connection in the last moment is missed by the check."""
    session.end(time.monotonic())
    session.wrong()


@real
def test_a_client_that_is_thrown_out_is_told(site: hosts.Site) -> None:
    with Redis(16).started(site) as session:
        session.begin()
        say_to_redis(site, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(BenchMissed, match="lost its connection"):
            end_and_check(session)


@real
def test_a_move_that_fails_is_no_row(site: hosts.Site) -> None:
    source, target = site.pair
    with Memory(16, 0).started(site) as session:
        target.cut()
        try:
            with pytest.raises(BenchImpossible, match="stop-copy"):
                moving.move(source, target, site.migrate, "stop-copy")
        finally:
            target.mend()
        assert session.wrong() == 0


def test_what_redis_benchmark_says() -> None:
    head = '"test","rps","avg_latency_ms"\n'
    assert outcome(head + '"SET","1250.50","0.2"\n', 0) == (1250.5, ())
    rate, errors = outcome(head + "Error: Server closed the connection\n", 1)
    assert rate == 0.0
    assert errors[0] == "Error: Server closed the connection"
    assert len(errors) == 2
    assert outcome(head, 0)[1] != ()


@real
@pytest.mark.timeout(300)
def test_a_writer_that_is_too_slow_fails_the_check(tmp_path: Path) -> None:
    """By the command itself; nothing writes five million pages a second in Python."""
    result = tmp_path / "downtime.json"
    done = subprocess.run(
        [MIGRATE, "bench", "downtime", "--mib", "16", "--rate", "5000000", "--mode", "pre-copy",
         "--runs", "1", "--check", "--json", "--output", result],
        capture_output=True, text=True, timeout=280, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == BenchMissed.code, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[0])
    assert told == json.loads(result.read_text())
    assert [row["wrong"] for row in told["rows"]] == [0]
    assert "measures another load" in told["missed"][0]
    assert "not counted" in done.stderr
