"""The verbs through the real command, and what happens when something dies in between."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.engine import Engine, eventually

pytestmark = pytest.mark.root
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /count; done"


def test_a_created_container_waits_and_can_be_removed(engine: Engine):
    identifier = engine.ok("create", "--name", "c", "--rootfs", engine.rootfs, "sh", "-c", "exit 4")
    assert engine.status("c")["status"] == "created"
    engine.fails("pause", "c", code=37)
    engine.fails("rm", "c", code=37)
    assert engine.ok("start", "c") == "c"
    assert eventually(lambda: engine.status("c")["exit_status"] == 4)
    engine.ok("rm", identifier[:6])
    engine.ok("create", "--name", "c", "--rootfs", engine.rootfs, "true")
    engine.ok("rm", "-f", "c")
    assert engine.leftovers() == []


def test_stop_start_kill_and_exit_statuses(engine: Engine):
    engine.detached("--name", "s", "sh", "-c", "trap 'exit 143' TERM; date > /kept; sleep 9 & wait")
    engine.ok("exec", "s", "sh", "-c", "until [ -s /kept ]; do :; done")
    engine.ok("stop", "-t", "20", "s")
    assert engine.status("s")["exit_status"] == 143
    engine.fails("stop", "s", code=37)
    engine.ok("start", "s")
    assert engine.status("s")["status"] == "running"
    assert engine.ok("exec", "s", "cat", "/kept")
    engine.ok("kill", "s")
    assert eventually(lambda: engine.status("s")["exit_status"] == 137)
    engine.fails("kill", "-s", "NONSENSE", "s", code=38)
    engine.ok("start", "s")  # at once, while the old monitor may still be there
    began = time.monotonic()
    engine.ok("stop", "-t", "0.2", "s")
    assert time.monotonic() - began < 8  # and not what is usual, 10
    engine.ok("rm", "s")


def test_pause_stands_still_and_resume_goes_on(engine: Engine):
    engine.detached("--name", "p", "sh", "-c", COUNT)
    count = engine.paths.container(engine.status("p")["id"]).upper / "count"
    assert eventually(count.exists)
    engine.ok("pause", "p")
    assert engine.status("p")["status"] == "paused"
    seen = count.read_text()
    time.sleep(0.3)
    assert count.read_text() == seen
    engine.fails("exec", "p", "true", code=37)
    engine.ok("resume", "p")
    assert eventually(lambda: count.read_text().strip() not in {"", seen.strip()})
    engine.ok("pause", "p")
    engine.ok("rm", "-f", "p")
    assert engine.leftovers() == []


def test_a_killed_monitor_leaves_a_container_that_can_be_handled(engine: Engine):
    engine.detached("--name", "m", "sleep", "100")
    os.kill(engine.process("m")["monitor"], signal.SIGKILL)
    assert engine.status("m")["status"] == "running"
    assert engine.ok("exec", "m", "echo", "alive") == "alive"
    engine.ok("stop", "-t", "0", "m")
    assert engine.status("m")["status"] == "stopped"
    engine.ok("start", "m")
    assert engine.status("m")["status"] == "running"
    os.kill(engine.process("m")["monitor"], signal.SIGKILL)
    engine.ok("rm", "-f", "m")
    assert engine.leftovers() == []


def test_foreground_tells_when_its_monitor_dies(engine: Engine):
    process = engine.start("run", "--name", "f", "--rootfs", engine.rootfs, "sleep", "100")
    assert eventually(lambda: '"running"' in engine.ok("ps", "--json"))
    os.kill(engine.process("f")["monitor"], signal.SIGKILL)
    _out, error = process.communicate(timeout=60)
    assert process.returncode == 44
    assert "monitor has died" in error
    engine.ok("rm", "-f", "f")


def test_detached_with_rm_goes_when_it_ends(engine: Engine):
    engine.detached("--rm", "--name", "gone", "sleep", "0.2")
    assert eventually(lambda: engine.leftovers() == []), engine.leftovers()
    engine.detached("--rm", "--name", "gone", "sleep", "100")
    engine.ok("stop", "-t", "0", "gone")
    assert eventually(lambda: engine.leftovers() == []), engine.leftovers()
    engine.detached("--rm", "--name", "gone", "sleep", "100")
    engine.ok("rm", "-f", "gone")
    assert eventually(lambda: engine.leftovers() == []), engine.leftovers()


def test_twenty_at_once(engine: Engine):
    start = ["run", "-d", "--rootfs", engine.rootfs, "sleep", "100"]
    processes = [engine.start(*start) for _ in range(20)]
    done = [process.communicate(timeout=60) for process in processes]
    assert [p.returncode for p in processes] == [0] * 20, done
    identifiers = [out.strip() for out, _error in done]
    engine.identifiers.update(identifiers)
    assert len(engine.ok("ps", "-q").split()) == 20
    engine.ok("rm", "-f", *identifiers)
    assert engine.leftovers() == []


def test_the_same_name_at_once_is_given_once(engine: Engine):
    start = ["run", "-d", "--name", "one", "--rootfs", engine.rootfs, "sleep", "100"]
    processes = [engine.start(*start) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
    assert sorted(p.returncode for p in processes) == [0, 36, 36, 36]
    engine.ok("rm", "-f", "one")
    assert engine.leftovers() == []
