"""Many small files: they travel while the container runs, and what changes meanwhile after it."""

from __future__ import annotations

import json

import pytest

from tests.engine import eventually
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import held_move, kill
from tests.move.test_filerounds import wait_for
from tests.move.test_precopy import PROGRAMS, clean, output, pair, real

__all__ = ["clean", "pair"]


@real
@pytest.mark.timeout(180)
def test_a_program_that_does_everything_to_many_files(clean: tuple[Host, Host]) -> None:
    clean[0].run([
        MIGRATE, "run", "-d", "--name", "files", "-v", "/usr:/usr:ro", "-v",
        f"{PROGRAMS}:/bench:ro", "-v", "data:/data", "bench", "/usr/bin/python3", "-B",
        "/bench/smallfiles.py", "300", "/own", "/data/below",
    ])  # fmt: skip
    wait_for(clean[0], "files", 2)
    for turn in range(2):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "pre-copy", "files", target.ssh_target, "--json"]
        told = [json.loads(line) for line in source.run(command).stdout.splitlines()]
        (ahead,) = [event for event in told if event.get("name") == "files ahead"]
        assert ahead["files"] > 500
        wait_for(target, "files", len(output(target, "files")) + 3)
        assert [line for line in output(target, "files") if "WRONG" in line] == []


@real
def test_what_has_not_changed_is_not_in_the_pause(clean: tuple[Host, Host]) -> None:
    source, target = clean
    source.run([
        MIGRATE, "run", "-d", "--name", "files", "-v", "/usr:/usr:ro", "-v", "calm:/data", "bench",
        "/usr/bin/sh", "-c",
        "for i in $(seq 300); do head -c 8192 /dev/urandom > /data/$i; done; cp -r /data /own; "
        "echo made; exec sleep 1000",
    ])  # fmt: skip
    wait_for(source, "files", 1)
    sums = [
        "exec",
        "files",
        "/usr/bin/sh",
        "-c",
        "cat /data/* /own/* | md5sum; ls -l --full-time /data",
    ]
    before = source.run([MIGRATE, *sums]).stdout
    command = [MIGRATE, "move", "--mode", "pre-copy", "files", target.ssh_target, "--json"]
    told = [json.loads(line) for line in source.run(command).stdout.splitlines()]
    (total,) = {event["total"] for event in told if event.get("name") == "state"}
    assert total < 1 << 20, "the files alone have 4.7 MiB"
    assert target.run([MIGRATE, *sums]).stdout == before


@real
def test_nothing_is_left_of_a_move_that_ended_after_that(clean: tuple[Host, Host]) -> None:
    source, target = clean
    source.run([
        MIGRATE, "run", "-d", "--name", "files", "-v", "/usr:/usr:ro", "-v", "kept:/data", "bench",
        "/usr/bin/sh", "-c",
        "for i in $(seq 40); do echo $i > /data/$i; echo $i > /own$i; done; "
        "echo made; exec sleep 1000",
    ])  # fmt: skip
    wait_for(source, "files", 1)
    before = found(target, "volumes/*")
    command, held = held_move(source, target, "files", "memory-sent", "--mode", "pre-copy")
    assert len(found(target, "containers/*/upper/own7 volumes/kept/40")) == 2
    assert found(target, "moves/incoming/*/ahead/*.tar moves/incoming/*/ahead/*/*.tar") == []
    kill([held])
    command.wait(60)
    source.run([MIGRATE, "recover"])
    assert eventually(lambda: found(target, "volumes/*") == before)
    assert eventually(lambda: found(target, "containers/*/upper") == [])
    assert source.run([MIGRATE, "exec", "files", "/usr/bin/cat", "/own7"]).stdout == "7\n"


def found(host: Host, patterns: str) -> list[str]:
    line = f"cd /var/lib/migrate; ls -d {patterns} 2>/dev/null || true"
    return host.run(["sh", "-c", line]).stdout.split()
