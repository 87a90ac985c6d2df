"""One pause of a host at a time."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from migrate.bench.hosts import make_image
from migrate.move.rounds import WAITED
from migrate.move.turn import Turn
from migrate.runtime.paths import Paths
from tests.hosts import Lan
from tests.hosts.redis import MIGRATE
from tests.move.test_precopy import goes_on, output, start

LONG = 60.0  # seconds, which nobody has to wait


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path)


def test_the_next_one_waits_until_it_is_given(paths: Paths) -> None:
    one, two = Turn(paths), Turn(paths)
    assert one.take(LONG) < LONG
    waited: list[float] = []
    waiting = threading.Thread(target=lambda: waited.append(two.take(LONG)))
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    one.give()
    waiting.join()
    assert waited[0] < LONG
    two.give()
    two.give()
    with (paths.run / "frozen.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody has it any more


def test_nobody_waits_for_ever(paths: Paths) -> None:
    one, two = Turn(paths), Turn(paths)
    one.take()
    begun = time.monotonic()
    assert two.take(0.1) >= 0.1
    assert time.monotonic() - begun < LONG
    two.give()  # which was not its own
    assert Turn(paths).take(0.05) >= 0.05
    one.give()


def test_it_ends_with_its_process(paths: Paths) -> None:
    code = (
        "import sys, time; from pathlib import Path; from migrate.move.turn import Turn;"
        "from migrate.runtime.paths import Paths; p = Path(sys.argv[1]);"
        "t = Turn(Paths(p, p)); t.take();"
        "print('taken', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(paths.run)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "taken\n"
    mine = Turn(paths)
    assert mine.take(0.05) >= 0.05
    mine.give()
    child.kill()
    child.wait()
    assert mine.take(LONG) < LONG
    mine.give()


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.alone
def test_what_is_written_while_it_waits_travels_in_one_more_round(lan: Lan) -> None:
    hosts = lan.host("alpha"), lan.host("beta")
    make_image(lan.shared / "bench.tar", list(hosts), MIGRATE)
    start(hosts[0], "counters", "counters.py", "48", "8")
    goes_on(hosts[0], "counters")
    before_us = hosts[0].popen(
        ["flock", "-o", "/run/migrate/frozen.lock", "sh", "-c", "echo frozen; exec sleep 1000"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert before_us.stdout.readline() == "frozen\n"
    told = hosts[0].run(
        [MIGRATE, "move", "--mode", "pre-copy", "--verify", "counters", hosts[1].ssh_target,
         "--json"], timeout=100,
    ).stdout  # fmt: skip
    before_us.kill()
    before_us.wait()
    lines = [json.loads(line) for line in told.splitlines()]
    (result,) = [line["result"] for line in lines if "result" in line]
    assert result["mode"] == "pre-copy"
    assert WAITED in [line.get("name") for line in lines]
    assert result["freeze_phases"]["transfer"] < 2.0
    goes_on(hosts[1], "counters")
    assert not [line for line in output(hosts[1], "counters") if "WRONG" in line]
