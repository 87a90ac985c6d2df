"""Containers with a user namespace are saved and brought back, with the same ids or others."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from migrate.checkpoint.errors import CheckpointBad
from migrate.checkpoint.state import State, decode
from migrate.runtime import records, usernamespaces
from migrate.runtime.records import Record, load_process
from tests.checkpoint.conftest import COUNTER, Place

pytestmark = [pytest.mark.root, pytest.mark.criu]
LOOK = "stat -c %u:%g /count /data/count; cat /proc/self/uid_map; id -u; grep CapEff /proc/1/status"


def _start(place: Place, name: str, *options: str, script: str = COUNTER) -> Record:
    given = ["-v", "/usr:/usr:ro", "--rootfs", place.rootfs, *options]
    place.migrate("run", "-d", "--name", name, *given, "/bin/sh", "-c", script)
    return records.find(place.paths, name)


def _inside(place: Place, record: Record, script: str) -> list[str]:
    return place.migrate("exec", record.identifier, "/bin/sh", "-c", script).stdout.split()


def _counts_in_volume(place: Place, name: str, *options: str) -> Record:
    script = f"mkfifo /data/fifo; touch /data/count; chown 7:8 /data/count; {COUNTER}"
    return _start(place, name, "-v", "data:/data", *options, script=script)


def test_round_trips_in_the_same_ids(place: Place):
    record = _counts_in_volume(place, "counter", "--userns", "auto")
    place.counts_on(record)
    before = _inside(place, record, LOOK)
    for turn in range(2):
        place.migrate("checkpoint", "counter", "-o", f"{turn}.tar.zst")
        assert place.status(record) == "stopped"
        place.migrate("restore", f"{turn}.tar.zst")
        place.counts_on(record)
        assert _inside(place, record, LOOK) == before
        process = load_process(place.paths.container(record.identifier))
        assert process
        assert Path(f"/proc/{process.pid}").stat().st_uid == record.user_namespace.root[0]
        own = place.paths.container(record.identifier)
        assert not own.binds.exists()
        for kind, bound in (("user", own.userns), ("net", own.netns)):
            # What it has is what the host has bound: root inside has its rights over both.
            assert os.stat(f"/proc/{process.pid}/ns/{kind}").st_ino == bound.stat().st_ino
    place.migrate("stop", "-t", "0", "counter")
    place.migrate("start", "counter")
    place.wait_for(lambda: place.status(record) == "running")
    assert _inside(place, record, "cat /proc/self/uid_map") == before[2:5]


def test_programs_of_other_users_and_what_they_have_open(place: Place):
    script = (
        "exec 9>/dev/shm/open; echo deleted >&9; rm /dev/shm/open; "
        "exec 8</dev/urandom 7>/dev/null; umask 027; mkdir -p /dev/shm/d; cd /dev/shm/d; " + COUNTER
    )
    record = _start(place, "other", "--userns", "auto", "-u", "1000:50", script=(
        script.replace("echo $i > /count; ", "")
    ))  # fmt: skip
    place.counts_on(record)
    place.migrate("checkpoint", "other", "-o", "c.tar.zst")
    place.migrate("restore", "c.tar.zst")
    place.counts_on(record)
    look = "grep -E '^(Uid|Gid):' /proc/1/status; readlink /proc/1/fd/8; readlink /proc/1/cwd"
    assert _inside(place, record, look) == [
        "Uid:", *["1000"] * 4, "Gid:", *["50"] * 4, "/dev/urandom", "/dev/shm/d",
    ]  # fmt: skip


def test_a_terminal(place: Place):
    record = _start(place, "tty", "--userns", "auto", "-t", script=COUNTER)
    place.counts_on(record)
    place.migrate("checkpoint", "tty", "-o", "c.tar.zst")
    place.migrate("restore", "c.tar.zst")
    place.counts_on(record)
    assert _inside(place, record, "readlink /proc/1/fd/1")[0].startswith("/dev/pts/")


def test_a_second_one_under_another_name_has_ids_of_its_own(place: Place):
    record = _counts_in_volume(place, "counter", "--userns", "auto")
    place.counts_on(record)
    place.migrate("checkpoint", "counter", "--leave-running", "-o", "c.tar.zst")
    place.migrate("rename", "counter", "first")
    place.migrate("stop", "-t", "0", "first")
    subprocess.run(["rm", "-rf", place.paths.volumes / "data"], check=True)
    place.migrate("rm", "first")
    kept = _start(place, "kept", "--userns", "auto")
    place.migrate("restore", "c.tar.zst", "--name", "second")
    second = records.find(place.paths, "second")
    place.counts_on(second)
    assert second.user_namespace.exclusive
    usernamespaces.refuse_taken(second, [kept])
    assert _inside(place, second, "stat -c %u:%g /count /data/count") == ["0:0", "7:8"]


def test_what_is_told_twice_differently_is_refused(place: Place):
    record = _start(place, "counter", "--userns", "auto")
    spec = json.loads(place.paths.container(record.identifier).spec.read_text())
    told = State(record, spec, {}, ()).encode()
    assert decode(told).record == record
    first = record.user_namespace.root[0]
    with pytest.raises(CheckpointBad):
        decode(told.replace(f'"hostID": {first}'.encode(), b'"hostID": 0'))
