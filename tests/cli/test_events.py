"""`migrate events`: what real containers do is told as it happens, by inotify and the kernel."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.engine import Engine, eventually

pytestmark = pytest.mark.root


class Listener:
    """The command at work; what it says is gathered."""

    def __init__(self, engine: Engine, *options: str) -> None:
        self.process = engine.start("events", "--json", *options)
        self.heard: list[dict] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.heard.append(json.loads(line))

    def kinds(self, name: str) -> list[str]:
        return [e["event"] for e in self.heard if e["name"] == name]

    def told(self, name: str, kind: str) -> dict:
        return next(e["told"] for e in self.heard if (e["name"], e["event"]) == (name, kind))

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self._reader.join(60)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def listener(engine: Engine) -> Iterator[Listener]:
    engine.paths.make()
    engine.detached("--name", "probe", "sleep", "100")
    made = Listener(engine)

    def listens() -> bool:
        engine.ok("pause", "probe")
        engine.ok("resume", "probe")
        return made.kinds("probe") != []

    assert eventually(listens)
    engine.ok("rm", "-f", "probe")
    yield made
    assert made.end() == 130


def test_a_life_is_told_in_order(engine: Engine, listener: Listener):
    engine.detached("--name", "first", "sleep", "100")
    engine.ok("pause", "first")
    assert eventually(lambda: listener.kinds("first")[-1:] == ["paused"])
    engine.ok("resume", "first")
    assert eventually(lambda: listener.kinds("first")[-1:] == ["resumed"])
    engine.ok("update", "--pids-limit", "50", "first")
    assert eventually(lambda: listener.kinds("first")[-1:] == ["updated"])
    assert listener.told("first", "updated") == {"pids": 50}
    engine.ok("rename", "first", "second")
    engine.ok("stop", "-t", "0", "second")
    assert eventually(lambda: listener.kinds("second") == ["renamed", "exited"])
    assert listener.told("second", "exited") == {"status": 137}
    engine.ok("start", "second")
    assert eventually(lambda: listener.kinds("second")[-1:] == ["started"])
    engine.ok("rm", "-f", "second")
    assert eventually(lambda: listener.kinds("second")[-1:] == ["removed"])
    assert listener.kinds("first") == ["created", "started", "paused", "resumed", "updated"]
    assert listener.kinds("second") == ["renamed", "exited", "started", "exited", "removed"]


def test_short_lives_and_want_of_memory_are_told(engine: Engine, listener: Listener):
    engine.detached("--name", "brief", "sh", "-c", "exit 3")
    assert eventually(lambda: listener.kinds("brief") == ["created", "started", "exited"])
    assert listener.told("brief", "exited") == {"status": 3}
    whole = ["created", "started", "exited"]
    for number in range(10):
        engine.detached("--name", f"b{number}", "true")
        assert eventually(lambda n=number: listener.kinds(f"b{n}") == whole), listener.heard
    script = "head -c 200m /dev/zero | tail -c 150m >/dev/null; sleep 100"
    engine.detached("--name", "hungry", "-m", "32m", "sh", "-c", script)
    assert eventually(lambda: "oom" in listener.kinds("hungry"))
    assert listener.told("hungry", "oom")["processes_killed"] >= 1
    engine.ok("rm", "-f", "brief", "hungry", *(f"b{n}" for n in range(10)))


def test_since_tells_what_the_records_remember(engine: Engine):
    engine.detached("--name", "past", "sh", "-c", "exit 5")
    assert eventually(lambda: engine.status("past")["exit_status"] == 5)
    listener = Listener(engine, "--since", "5m")
    assert eventually(lambda: listener.kinds("past") == ["created", "started", "exited"])
    assert listener.told("past", "exited") == {"status": 5}
    assert listener.end() == 130
    for odd in ("yesterday", "10x", ""):
        assert engine.call("events", "--since", odd, stdin=subprocess.DEVNULL).returncode == 2
    engine.ok("rm", "past")
