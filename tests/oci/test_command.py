"""Global options, exit codes and errors as engines read them; runc.8, features.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrate.kernel.capabilities import NAMES
from tests.engine import eventually
from tests.oci.runtime import COMMAND, Runtime

pytestmark = pytest.mark.root


def test_version_names_command_and_specification(oci: Runtime):
    told = oci.ok("--version").splitlines()
    assert re.fullmatch(r"migrate-oci version \d+\.\d+\.\d+", told[0])
    assert told[1] == "spec: 1.2.0"


def test_errors_go_to_stderr_and_as_json_to_the_log(oci: Runtime):
    log = oci.directory / "log.json"
    text = oci.fails("--log", log, "--log-format", "json", "state", "nobody")
    entry = json.loads(log.read_text())
    assert set(entry) == {"level", "msg", "time"}
    assert entry["level"] == "error"
    assert entry["msg"] in text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])


def test_errors_go_to_the_log_as_text(oci: Runtime):
    log = oci.directory / "log"
    oci.fails("--log", log, "state", "nobody")
    assert re.match(r'time="\S+" level=error msg="container does not exist', log.read_text())


@pytest.mark.parametrize(
    "words",
    [
        ["--nope"], ["nope"], ["state", "--nope", "x"], ["--log-format", "xml", "list"],
        ["--rootless", "true", "list"], ["state", "a", "b"], ["list", "--format", "xml"],
        ["checkpoint", "x"], ["restore", "x"],
    ],
)  # fmt: skip
def test_what_is_not_understood_ends_with_1(oci: Runtime, words: list[str]):
    assert oci.fails(*words).startswith("migrate-oci: ")


def test_options_of_no_effect_are_accepted(oci: Runtime):
    oci.ok("--criu", "/nowhere", "--debug", "--rootless", "auto", "list")
    oci.ok("--cgroup-manager", "cgroupfs", "list")
    assert "cgroup-manager" in oci.fails("--cgroup-manager", "disabled", "list")


@pytest.mark.parametrize("words", [["--help"], ["help"], ["create", "--help"], ["exec", "-h"]])
def test_help(words: list[str]):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=True)
    assert "usage: migrate-oci" in done.stdout


def test_features_are_those_of_features_md(oci: Runtime):
    told: dict[str, Any] = json.loads(oci.ok("features"))
    assert told["ociVersionMin"] == "1.0.0"
    assert {"prestart", "poststop", "startContainer"} <= set(told["hooks"])
    assert {"rbind", "rro", "tmpcopyup", "rprivate"} <= set(told["mountOptions"])
    linux = told["linux"]
    assert {"user", "time", "mount"} <= set(linux["namespaces"])
    assert linux["capabilities"] == list(NAMES)
    assert linux["cgroup"]["systemd"] is True
    assert "SCMP_ACT_ERRNO" in linux["seccomp"]["actions"]


@pytest.mark.alone
def test_state_takes_less_than_60_ms(oci: Runtime):
    """Issue 3; the best of ten, for the machine has other work, too, or is a slower one."""
    identifier = oci.running()
    ours = [COMMAND, "--root", oci.root, "state", identifier]
    bare = [sys.executable, "-I", "-S", "-c", "pass"]  # 11 ms where the issue was written
    times, unit = _times(ours), min(_times(bare))
    assert min(times) < max(0.060, 5 * unit), (times, unit)


def _times(command: Sequence[str | Path]) -> list[float]:
    """Seconds that it takes, ten times."""
    found = []
    for _ in range(10):
        begun = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        found.append(time.monotonic() - begun)
    return found


def test_update_by_options_and_by_json(oci: Runtime):
    identifier = oci.running()
    oci.ok("update", "--memory", "64m", "--pids-limit", "30", identifier)
    oci.ok("update", "--resources", "-", identifier, input='{"cpu": {"shares": 300}}')
    stats = json.loads(oci.ok("events", "--stats", identifier))
    assert stats["type"] == "stats"
    assert stats["id"] == identifier
    assert stats["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert stats["data"]["pids"]["limit"] == 30
    assert stats["data"]["pids"]["current"] == 1
    assert stats["data"]["cpu"]["usage"]["total"] > 0
    assert oci.fails("update", "--l3-cache-schema", "x", identifier)
    assert oci.fails("update", "-r", "/nowhere", identifier)


def test_events_tell_all_that_runc_tells(oci: Runtime):
    identifier = oci.running()
    data = json.loads(oci.ok("events", "--stats", identifier))["data"]
    assert set(data) == {
        "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces",
    }  # fmt: skip
    entry = {"limit", "usage", "max", "failcnt"}
    for name in ("usage", "swap", "kernel", "kernelTCP"):
        assert set(data["memory"][name]) == entry, name
    assert data["memory"]["usage"]["usage"] > 0
    assert isinstance(data["memory"]["cache"], int)
    assert data["cpuset"]["cpus"] == sorted(os.sched_getaffinity(0))
    assert data["cpuset"]["mems"]
    assert set(data["cpu"]["throttling"]) == {"periods", "throttledPeriods", "throttledTime"}
    for row in data["blkio"]["ioServiceBytesRecursive"]:
        assert set(row) == {"major", "minor", "op", "value"}
    for size, told in data["hugetlb"].items():
        assert size.endswith(("KB", "MB", "GB"))
        assert set(told) == {"usage", "max", "failcnt"}


def test_events_tell_of_memory_that_ran_out_and_end_with_the_container(oci: Runtime):
    """runc-events(8)."""
    spec = oci.spec("sh", "-c", "sleep 1000 & head -c 100000000 /dev/zero | tail >/dev/null; wait")
    spec["linux"]["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    identifier = oci.create(spec)
    events = oci.start_command("events", "--interval", "60s", identifier)
    assert events.stdout
    assert json.loads(events.stdout.readline())["type"] == "stats"
    oci.ok("start", identifier)
    assert json.loads(events.stdout.readline()) == {"type": "oom", "id": identifier}
    oci.ok("kill", identifier, "KILL")
    out, error = events.communicate(timeout=60)
    assert (events.returncode, error) == (0, "")
    assert {json.loads(line)["type"] for line in out.splitlines()} <= {"oom"}


def test_ps_is_that_of_the_host(oci: Runtime):
    identifier = oci.running()
    table = oci.ok("ps", identifier).splitlines()
    assert len(table) == 2
    assert str(oci.state(identifier)["pid"]) in table[1].split()
    # Its descriptors are closed before its new words can be read (fs/exec.c).
    assert eventually(lambda: "sleep 1000" in oci.ok("ps", identifier, "-o", "pid,args"))


def test_pause_and_resume_of_what_is_not_fit_are_errors(oci: Runtime):
    identifier = oci.running()
    assert "running" in oci.fails("resume", identifier)
    oci.ok("pause", identifier)
    assert "paused" in oci.fails("pause", identifier)
    assert oci.state(identifier)["status"] == "paused"


def test_the_entry_knows_every_command():
    from migrate.oci import entry
    from migrate.oci.commands import COMMANDS

    assert set(COMMANDS) == entry._ALONE | entry._OTHERS
    assert not entry._ALONE & entry._OTHERS
