"""The trace of a move: both hosts' steps on one clock, whatever comes of the move."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.bench.hosts import make_image
from migrate.move import clock, steps
from migrate.move.clock import Offset, Trip
from migrate.move.errors import Interrupted, TraceUnwritable
from migrate.move.trace import PAUSE, PHASES, ROUNDS, SOURCE, TARGET, Trace
from migrate.transfer.agent import Context
from migrate.transfer.errors import ProtocolError
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
)


@given(
    offset=st.floats(-1e6, 1e6),
    trips=st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(1e-6, 1), st.floats(0, 1)), min_size=1
    ),
)  # fmt: skip
def test_the_offset_is_right_within_its_bound(offset, trips):
    """Wherever between question and answer their clock was read."""
    asked = [Trip(sent, sent + took * part + offset, sent + took) for sent, took, part in trips]
    found = clock.estimate(asked)
    assert abs(found.seconds - offset) <= found.uncertainty + 1e-6
    assert found.uncertainty <= min(took for _, took, _ in trips) / 2 + 1e-6


def test_a_clock_that_is_ahead_is_found_out():
    found = clock.measure(lambda method, timeout: time.monotonic() + 1000)
    assert abs(found.seconds - 1000) <= found.uncertainty
    assert found.uncertainty < 0.1
    now = time.monotonic()
    assert abs(found.ours(now + 1000) - now) < 0.2


@pytest.mark.parametrize("told", [None, True, "1", float("nan"), float("inf"), -1.0, 1e13, [1]])
def test_no_clock_tells_that(told):
    with pytest.raises(ProtocolError):
        clock.measure(lambda method, timeout: told)


@given(ANYTHING)
def test_whatever_is_told_as_steps_is_refused_or_well_formed(told):
    try:
        found = steps.checked(told)
    except ProtocolError:
        return
    assert all(step.name and step.begun >= 0 and step.seconds >= 0 for step in found)


def test_steps_have_their_parts_and_failures(tmp_path):
    context = Context.__new__(Context)
    context.session = {}

    def restore(context: Context) -> dict[str, float]:
        return {"files": 0.25, "restore": 0.5}

    def fail(context: Context) -> None:
        raise OSError("no place")

    steps.timed("move.restore", restore)(context)
    with pytest.raises(OSError, match="no place"):
        steps.timed("move.place", fail)(context)
    told = steps.checked(json.loads(json.dumps(steps.told(context))))
    assert [step.name for step in told] == ["move.restore", "files", "restore", "move.place"]
    assert told[2].begun == pytest.approx(told[0].begun + 0.25)


def test_there_is_an_end_of_steps():
    context = Context.__new__(Context)
    context.session = {}
    ask = steps.timed("host.facts", lambda context: None)
    for _ in range(steps.MOST_STEPS + 5):
        ask(context)
    assert len(steps.checked(steps.told(context))) == steps.MOST_STEPS


@pytest.mark.parametrize("where", ["none/trace.json", ".", "pipe"])
def test_where_it_can_not_be_written_is_told_first(tmp_path, where):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceUnwritable):
        Trace(tmp_path / where)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe"}


# A real move


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    hosts = lan.host("alpha"), lan.host("beta")
    make_image(lan.shared / "bench.tar", list(hosts), MIGRATE)
    return hosts


@pytest.fixture
def counter(pair: tuple[Host, Host]) -> Iterator[tuple[Host, Host]]:
    """A container on the first host, large enough for rounds."""
    source, target = pair
    source.run([
        MIGRATE, "run", "-d", "--name", "box", "-v", "/usr:/usr:ro", "bench",
        "/usr/bin/python3", "-c", "import time; a = bytes(range(256)) * 200_000; "
        "print('ready', flush=True); time.sleep(1e6)",
    ])  # fmt: skip
    assert eventually(lambda: "ready" in source.run([MIGRATE, "logs", "box"]).stdout)
    yield source, target
    for host in (source, target):
        host.run([MIGRATE, "rm", "-f", "box"], check=False)


def slices(path: Path, row: Callable[[dict[str, Any]], bool]) -> dict[str, tuple[float, float]]:
    """Of one row by name, begin and end in microseconds."""
    events = json.loads(path.read_bytes())["traceEvents"]
    return {
        e["name"]: (e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X" and row(e)
    }  # fmt: skip


def row(pid: int, tid: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: (event["pid"], event["tid"]) == (pid, tid)


def within(inner: tuple[float, float], outer: tuple[float, float], slack: float) -> bool:
    return outer[0] - slack <= inner[0] and inner[1] <= outer[1] + slack


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_a_move_shows_both_hosts_on_one_clock(counter, lan):
    source, target = counter
    path = lan.shared / "trace.json"
    source.run([MIGRATE, "move", "--mode", "pre-copy", "--trace", str(path), "box",
                target.ssh_target])  # fmt: skip
    facts = json.loads(path.read_bytes())["otherData"]
    slack = facts["clock_uncertainty_seconds"] * 1e6 + 100
    assert abs(facts["clock_offset_seconds"]) * 1e6 <= slack  # test hosts have one clock
    phases, pause = slices(path, row(SOURCE, PHASES)), slices(path, row(SOURCE, PAUSE))
    there = slices(path, row(TARGET, 1))
    assert {"preflight", "prepare", "memory", "frozen", "clean up"} <= phases.keys()
    assert {"freeze", "dump", "transfer", "restore", "commit"} <= pause.keys()
    assert {"round 1", "round 2"} <= slices(path, row(SOURCE, ROUNDS)).keys()
    assert all(within(span, phases["frozen"], 1) for span in pause.values())
    assert within(there["move.restore"], pause["restore"], slack)
    assert within(there["move.commit"], pause["commit"], slack)
    assert within(there["move.check"], phases["preflight"], slack)
    assert within(there["thaw"], there["move.commit"], slack)


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_a_move_that_is_refused_or_goes_wrong_has_one_too(counter, lan):
    source, target = counter
    path = lan.shared / "trace.json"
    command = [MIGRATE, "move", "--trace", str(path), "box", target.ssh_target]
    told = source.run([*command, "--dry-run"]).stdout
    assert "pre-copy" in told
    assert "preflight" in slices(path, row(SOURCE, PHASES))
    holding.arm(source, "restored")
    child = source.popen(command, stdout=subprocess.DEVNULL)
    holding.wait_until_held(source, "move", child)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGCONT)
    assert child.wait(timeout=60) == Interrupted.code
    assert "move.restore" in slices(path, row(TARGET, 1))
    assert "commit" not in slices(path, row(SOURCE, PAUSE))


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_nothing_is_begun_when_it_can_not_be_written(counter):
    source, target = counter
    failed = source.run(
        [MIGRATE, "move", "--trace", "/none/trace.json", "box", target.ssh_target], check=False
    )
    assert failed.returncode == TraceUnwritable.code
    assert "/none/trace.json can't be written" in failed.stderr
    assert "running" in source.run([MIGRATE, "ps"]).stdout


def test_moments_are_turned_to_our_clock():
    assert Offset(1000.0, 0.1).ours(1005.0) == 5.0
