"""Moves in the mode pre-copy: every page is what it was, whoever dies, and whatever it does."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.bench import downtime
from migrate.bench.hosts import make_image
from migrate.bench.loads.memory import Memory
from migrate.move.convergence import BESIDE, Round, enough
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts import redis as redis_in_container
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import arm, kill, processes, wait_until_held
from tests.move.fixtures import containers, writes_on
from tests.move.test_move import move, traces


def real(test: Callable[..., None]) -> Callable[..., None]:
    """Needs root, CRIU and hosts."""
    return pytest.mark.root(pytest.mark.criu(pytest.mark.hosts(test)))


PROGRAMS = Path(__file__).parent / "programs"
ADDRESS = "10.77.0.130"


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    hosts = lan.host("alpha"), lan.host("beta")
    make_image(lan.shared / "bench.tar", list(hosts), MIGRATE)
    redis_in_container.make_image(lan.shared, hosts[0])
    return hosts


@pytest.fixture
def clean(pair: tuple[Host, Host]) -> Iterator[tuple[Host, Host]]:
    """Both hosts; afterwards nothing of a container or a move is on either."""
    yield pair
    for host in pair:
        host.run([MIGRATE, "recover"], check=False)
        for name in containers(host):
            host.run([MIGRATE, "rm", "-f", name])
        assert eventually(lambda at=host: not traces(at)), traces(host)
        mounts = Path(f"/proc/{host.pid}/mounts")
        assert eventually(lambda table=mounts: "migrate-pages" not in table.read_text())
        assert eventually(lambda at=host: not processes(at, "migrate.runtime.monitor"))


def start(host: Host, name: str, program: str, *arguments: str) -> None:
    host.run([
        MIGRATE, "run", "-d", "--name", name, "-v", "/usr:/usr:ro", "-v", f"{PROGRAMS}:/bench:ro",
        "-e", "PYTHONDONTWRITEBYTECODE=1", "bench", "/usr/bin/python3", f"/bench/{program}",
        *arguments,
    ])  # fmt: skip


def output(host: Host, name: str) -> list[str]:
    return host.run([MIGRATE, "logs", name]).stdout.splitlines()


def goes_on(host: Host, name: str, limit: float = 60.0) -> None:
    begun = len(output(host, name))
    assert eventually(lambda: len(output(host, name)) >= begun + 40, limit), "it stands still"


@real
@pytest.mark.timeout(240)
def test_a_program_that_does_everything_to_its_memory(clean: tuple[Host, Host]) -> None:
    hosts = clean
    start(hosts[0], "stress", "stress.py", "4")
    goes_on(hosts[0], "stress")
    for turn in range(4):  # many more in `make soak`
        source, target = hosts[turn % 2], hosts[(turn + 1) % 2]
        assert move(source, target, "stress", "--mode", "pre-copy")["mode"] == "pre-copy"
        goes_on(target, "stress")
    assert [line for line in output(hosts[0], "stress") if "WRONG" in line] == []


@real
@pytest.mark.timeout(240)
def test_flags_of_mappings_that_change_all_the_time(clean: tuple[Host, Host]) -> None:
    """CRIU is told smaps of a large process by us; what it is told must be of the freeze."""
    hosts = clean
    start(hosts[0], "advised", "advised.py", "96")
    goes_on(hosts[0], "advised")
    for turn in range(2):
        move(hosts[turn % 2], hosts[(turn + 1) % 2], "advised", "--mode", "pre-copy")
        goes_on(hosts[(turn + 1) % 2], "advised")
    assert [line for line in output(hosts[0], "advised") if "WRONG" in line] == []


@real
@pytest.mark.timeout(240)
def test_redis_under_a_client(lan: Lan, clean: tuple[Host, Host]) -> None:
    onlooker = lan.client()
    redis_in_container.start(clean[0], "redis", ADDRESS)
    redis_in_container.wait_for(onlooker, ADDRESS)
    client = redis_in_container.Client(onlooker, ADDRESS)
    for turn in range(4):
        move(clean[turn % 2], clean[(turn + 1) % 2], "redis", "--mode", "pre-copy")
    assert writes_on(client, 300)
    report = client.finish()
    assert report.errors == ()
    assert report.found == report.written


@real
@pytest.mark.alone
@pytest.mark.timeout(240)
def test_every_page_of_a_writer_by_the_benchmark() -> None:
    rows = list(downtime.run([Memory(96, 5000, "text")], ["pre-copy"], 3, print))
    assert [row.wrong for row in rows] == [0]
    assert rows[0].bytes_sent < 0.5 * (96 << 20)
    assert rows[0].load == Memory(96, 5000, "text")
    beyond = [
        gap - freeze for gap, freeze in zip(rows[0].gap.runs, rows[0].freeze.runs, strict=True)
    ]
    assert min(beyond) < 0.1, "the client waited for its retransmission timer"


@real
def test_the_page_server_is_killed_again_and_again(clean: tuple[Host, Host]) -> None:
    """Pages that are missing stay missing until the next one serves them; none becomes zero."""
    source, target = clean
    start(source, "stress", "stress.py", "3")
    goes_on(source, "stress")
    move(source, target, "stress", "--mode", "pre-copy")
    for _ in range(20):
        kill(page_servers(target))
        time.sleep(0.01)
    goes_on(target, "stress")
    assert [line for line in output(target, "stress") if "WRONG" in line] == []


def page_servers(host: Host) -> list[int]:
    found = []
    for pid in processes(host):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "migrate-pages":
                found.append(pid)
        except OSError:
            continue
    return found


@real
def test_at_once_back_again_and_a_checkpoint_behind_it(clean: tuple[Host, Host]) -> None:
    """The next dump waits until all memory is there."""
    source = clean[0]
    start(source, "stress", "stress.py", "3")
    goes_on(source, "stress")
    for turn in range(4):
        move(clean[turn % 2], clean[(turn + 1) % 2], "stress", "--mode", "pre-copy")
    source.run([MIGRATE, "checkpoint", "stress", "-o", "/tmp/stress.tar.zst"])
    source.run([MIGRATE, "restore", "/tmp/stress.tar.zst"])
    source.run(["rm", "/tmp/stress.tar.zst"])
    goes_on(source, "stress")
    assert [line for line in output(source, "stress") if "WRONG" in line] == []


@real
def test_rounds_are_told_and_a_rollback_stops_the_tracking(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "stress.py", "2")
    goes_on(source, "stress")
    arm(target, "unpacked")
    command = source.popen(
        [MIGRATE, "move", "--mode", "pre-copy", "stress", target.ssh_target, "--json"], stdout=-1
    )
    kill([wait_until_held(target, "agent", command)])
    out, _ = command.communicate(timeout=60)
    assert command.returncode != 0
    events = [json.loads(line) for line in out.decode().splitlines()]
    rounds = [event for event in events if event.get("event") == "round"]
    assert len(rounds) >= 2
    assert rounds[0]["bytes"] > rounds[-1]["bytes"]
    assert rounds[-1]["last"]
    goes_on(source, "stress")
    target.run([MIGRATE, "recover"])
    move(source, target, "stress", "--mode", "pre-copy")
    goes_on(target, "stress")
    assert [line for line in output(target, "stress") if "WRONG" in line] == []


@real
@pytest.mark.timeout(240)
def test_data_connections_that_break_are_made_anew(clean: tuple[Host, Host]) -> None:
    """The rounds go on; what was on its way is sent again, and nothing is lost."""
    source, target = clean
    start(source, "stress", "holder.py", "48")
    goes_on(source, "stress")
    command = source.popen(
        [MIGRATE, "move", "--mode", "pre-copy", "--bandwidth", "8", "stress", target.ssh_target,
         "--json", "--verify"], stdout=-1, text=True,
    )  # fmt: skip
    told = []
    for line in command.stdout:
        told.append(line)
        if '"memory", "done"' in line:
            break
    os.kill(processes(source, "ssh", "--data")[0], signal.SIGKILL)
    rest, _ = command.communicate(timeout=180)
    assert command.returncode == 0
    assert "connecting anew" in "".join(told) + rest
    goes_on(target, "stress")
    assert [line for line in output(target, "stress") if "WRONG" in line] == []


def test_when_rounds_end() -> None:
    first = Round(0, 1 << 30, 2.0, 2.0)
    assert enough([first], 0.3, 30) == ""
    assert "limit" in enough([first], 0.3, 1)
    calm = Round(1, 1 << 20, 0.01, 2.0)
    assert "fits" in enough([first, calm], 0.3, 30)
    busy = Round(1, 800 << 20, 1.6, 2.0)
    assert "do not help" in enough([first, busy], 0.3, 30)
    better = Round(1, 400 << 20, 0.8, 1.0)
    assert enough([first, better], 0.3, 30) == ""


def test_rounds_go_on_for_what_travels_beside_memory() -> None:
    first = Round(0, 1 << 30, 2.0, 2.0, beside=8.0)
    calm = Round(1, 1 << 20, 0.01, 2.0, beside=0.5)
    assert calm.predicted_pause() == pytest.approx(0.58, abs=0.01)
    assert enough([first, calm], 0.3, 30) == ""
    assert "fits" in enough([first, calm], 0.6, 30)
    assert "fits" in enough([first, calm, Round(2, 1 << 20, 0.01, 2.0, beside=0.2)], 0.3, 30)
    assert enough([first, calm, Round(2, 1 << 20, 0.01, 2.0, 0.5)], 0.3, 30) == BESIDE
