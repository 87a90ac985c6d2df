"""Restart policies, and `migrate wait`."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from migrate.runtime.again import LONGEST, SHORTEST, is_due, pause_before
from tests.engine import Engine, eventually


@pytest.mark.parametrize(("policy", "status", "restarts", "due"), [
    ("", 1, 0, False), ("always", 0, 99, True), ("on-failure", 0, 0, False),
    ("on-failure", 1, 99, True), ("on-failure:2", 1, 1, True), ("on-failure:2", 1, 2, False),
    ("on-failure:2", 0, 0, False),
])  # fmt: skip
def test_what_a_policy_wants(policy: str, status: int, restarts: int, due: bool):
    assert is_due(policy, status, restarts) is due


def test_the_pause_doubles_up_to_a_limit():
    pauses = [pause_before(ends) for ends in range(30)]
    assert pauses[:3] == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]
    assert max(pauses) == pauses[-1] == LONGEST


def starts(engine: Engine, name: str) -> int:
    """How often the program has begun."""
    return engine.ok("logs", name).split().count("begun")


@pytest.mark.root
def test_on_failure_n_times(engine: Engine):
    engine.detached("--name", "f", "--restart", "on-failure:2", "sh", "-c", "echo begun; exit 3")
    assert eventually(lambda: starts(engine, "f") == 3)
    assert eventually(lambda: engine.status("f")["exit_status"] == 3)
    time.sleep(0.5)
    assert starts(engine, "f") == 3
    assert engine.ok("wait", "f") == "3"
    engine.ok("rm", "f")
    engine.detached("--name", "f", "--restart", "on-failure", "sh", "-c", "echo begun")
    assert engine.ok("wait", "f") == "0"
    time.sleep(0.3)
    assert starts(engine, "f") == 1
    engine.ok("rm", "f")
    assert engine.leftovers() == []


@pytest.mark.root
def test_always_until_it_is_stopped(engine: Engine):
    script = "echo begun; exec sleep 1000"
    engine.detached("--name", "a", "--restart", "always", "sh", "-c", script)
    assert eventually(lambda: starts(engine, "a") == 1)
    for count in (2, 3):
        os.kill(engine.process("a")["pid"], signal.SIGKILL)
        assert eventually(lambda count=count: starts(engine, "a") == count)
        assert eventually(lambda: engine.status("a")["status"] == "running")
    engine.ok("stop", "-t", "0", "a")
    time.sleep(0.6)
    assert engine.status("a")["status"] == "stopped"
    assert starts(engine, "a") == 3
    engine.ok("start", "a")
    assert eventually(lambda: starts(engine, "a") == 4)
    os.kill(engine.process("a")["pid"], signal.SIGKILL)
    assert eventually(lambda: starts(engine, "a") == 5)
    engine.ok("rm", "-f", "a")
    time.sleep(0.5)
    assert engine.leftovers() == []


@pytest.mark.root
def test_it_is_stopped_between_two_lives(engine: Engine):
    engine.detached("--name", "b", "--restart", "always", "sh", "-c", "echo begun")
    assert eventually(lambda: starts(engine, "b") >= 4)  # the next one is 0.8 s away, or more
    engine.ok("stop", "b")
    lives = starts(engine, "b")
    time.sleep(pause_before(lives - 1) + 0.4)
    assert starts(engine, "b") == lives
    engine.ok("rm", "b")
    assert engine.leftovers() == []


@pytest.mark.root
def test_a_removed_one_does_not_come_back(engine: Engine):
    engine.detached("--name", "r", "--restart", "always", "sh", "-c", "echo begun")
    assert eventually(lambda: starts(engine, "r") > 2)
    engine.ok("rm", "-f", "r")
    time.sleep(1)
    assert engine.leftovers() == []


@pytest.mark.root
def test_what_does_not_fit_is_refused(engine: Engine):
    for words in (["--rm", "-d", "--restart", "always"], ["--restart", "always"],
                  ["-d", "--restart", "often"], ["-d", "--restart", "on-failure:0"],
                  ["-d", "--restart", "always:3"]):  # fmt: skip
        engine.fails("run", *words, "--rootfs", engine.rootfs, "true", code=2)
    assert engine.leftovers() == []


@pytest.mark.root
def test_wait_for_several(engine: Engine):
    engine.detached("--name", "one", "sh", "-c", "sleep 0.3; exit 4")
    engine.detached("--name", "two", "sh", "-c", "exit 5")
    engine.detached("--name", "three", "sleep", "1000")
    assert engine.ok("wait", "one", "two").split() == ["4", "5"]
    os.kill(engine.process("three")["monitor"], signal.SIGKILL)
    waiting = engine.start("wait", "--json", "two", "three")
    time.sleep(0.3)
    assert waiting.poll() is None
    engine.ok("stop", "-t", "0", "three")
    out, error = waiting.communicate(timeout=60)
    assert (waiting.returncode, error) == (0, "")
    assert json.loads(out) == [
        {"name": "two", "exit_status": 5}, {"name": "three", "exit_status": 255},
    ]  # fmt: skip
    engine.fails("wait", "nobody", code=35)
    engine.ok("rm", "one", "two", "three")
    assert engine.leftovers() == []
