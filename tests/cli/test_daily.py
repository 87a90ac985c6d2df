"""`migrate stats`, `top`, `update`, `rename`: against real containers and their control groups."""

from __future__ import annotations

import json
import signal

import pytest

from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.usage import usage_of
from tests.engine import Engine, eventually

pytestmark = pytest.mark.root
BUSY = "while :; do :; done"


def test_stats_tell_what_the_kernel_counts(engine: Engine):
    engine.detached("--name", "busy", "-m", "64m", "--cpus", "0.5", "sh", "-c", BUSY)
    engine.detached("--name", "idle", "--network", "bridge", "sleep", "100")

    def look() -> dict[str, dict]:
        listed = json.loads(engine.ok("stats", "--no-stream", "--json"))
        return {entry["name"]: entry for entry in listed}

    def is_plausible() -> bool:
        """A busy machine may give it less for a while, or look late."""
        seen = look()
        return 5 < seen["busy"]["cpu_percent"] < 70 and seen["idle"]["cpu_percent"] < 5

    assert eventually(is_plausible)
    found = look()
    assert found["busy"]["memory_limit"] == 64 << 20
    assert 0 < found["busy"]["memory"] < 64 << 20
    assert found["idle"]["pids"] == 1
    assert found["idle"]["network_sent"] is not None
    head, *lines = engine.ok("stats", "--no-stream", "busy").splitlines()
    assert head.split()[:5] == ["NAME", "ID", "CPU", "MEMORY", "LIMIT"]
    assert [line.split()[0] for line in lines] == ["busy"]
    engine.fails("stats", "--no-stream", "nobody", code=35)
    stream = engine.start("stats", "--json", "busy")
    assert stream.stdout
    assert [json.loads(stream.stdout.readline())["name"] for _ in range(2)] == ["busy"] * 2
    engine.ok("stop", "-t", "0", "busy")
    stream.communicate(timeout=60)  # the last of the named has ended, and so does the command
    assert stream.returncode == 0
    stream = engine.start("stats")
    assert stream.stdout
    stream.stdout.readline()
    stream.send_signal(signal.SIGINT)
    stream.communicate(timeout=60)
    assert stream.returncode == 130
    engine.ok("rm", "-f", "busy", "idle")


def test_top_shows_processes_by_both_numbers_and_the_containers_names(engine: Engine):
    engine.detached("--name", "t", "-u", "alice", "sh", "-c", "sleep 98 & sleep 99 & wait")
    found: list[dict] = []

    def are_up() -> bool:
        """A fork that has not executed its program yet is still the shell."""
        found[:] = json.loads(engine.ok("top", "--json", "t"))
        return {"sleep 98", "sleep 99"} <= {process["command"] for process in found}

    assert eventually(are_up)
    assert len(found) == 3
    assert {p["user"] for p in found} == {"alice"}
    assert found[0]["inner"] == 1
    assert found[0]["pid"] == engine.process("t")["pid"]
    assert sorted(p["command"] for p in found)[1:] == ["sleep 98", "sleep 99"]
    assert all(p["parent"] == found[0]["pid"] for p in found[1:])
    assert "INNER" in engine.ok("top", "t").splitlines()[0]
    engine.ok("rm", "-f", "t")
    engine.fails("top", "t", code=35)


def test_update_changes_limits_at_once_and_for_good(engine: Engine):
    identifier = engine.detached("--name", "u", "-m", "64m", "sleep", "100")
    group = ControlGroup.of(identifier)
    assert engine.ok("update", "-m", "128m", "--cpus", "0.5", "--pids-limit", "9", "u") == "u"
    assert usage_of(group).memory_limit == 128 << 20
    assert usage_of(group).pids_limit == 9
    engine.ok("update", "-m", "32m", "u")  # down again
    assert usage_of(group).memory_limit == 32 << 20
    assert "uses" in engine.fails("update", "-m", "16k", "--pids-limit", "5", "u", code=41)
    assert (usage_of(group).memory_limit, usage_of(group).pids_limit) == (32 << 20, 9)
    engine.ok("stop", "-t", "0", "u")
    engine.ok("update", "--pids-limit", "0", "-m", "48m", "u")
    engine.ok("start", "u")
    assert (usage_of(group).memory_limit, usage_of(group).pids_limit) == (48 << 20, 0)
    engine.ok("update", "-m", "0", "--cpus", "0", "u")
    assert usage_of(group).memory_limit == 0
    record = json.loads(engine.ok("inspect", "u"))["record"]
    assert not any(record.get("resources", {}).values())
    assert engine.call("update", "u").returncode == 2
    engine.ok("rm", "-f", "u")


def test_rename_keeps_the_id_and_takes_no_other_name(engine: Engine):
    identifier = engine.detached("--name", "old", "sleep", "100")
    engine.detached("--name", "other", "sleep", "100")
    assert engine.ok("rename", "old", "new") == "new"
    assert engine.status("new")["id"] == identifier
    engine.fails("inspect", "old", code=35)
    engine.fails("rename", "new", "other", code=36)
    engine.fails("rename", "new", "-x!", code=2)
    engine.fails("rename", "new", "a b", code=38)
    assert engine.ok("rename", "new", identifier) == identifier  # its own id is free for it
    engine.fails("rename", "other", identifier, code=36)
    engine.ok("rm", "-f", identifier, "other")
