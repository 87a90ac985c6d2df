"""Moves between two machines with Debian's own kernel: 6.12, cgroup v2 alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hosts import redis as redis_in_container
from tests.vm import containers
from tests.vm.containers import goes_on, move, wrong
from tests.vm.machine import MIGRATE, Machine
from tests.vm.pair import PROGRAMS

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.criu, pytest.mark.timeout(400)]

Machines = tuple[Machine, Machine]
ADDRESS = "10.77.0.130"
STRESS = ["/usr/bin/python3", "/bench/stress.py", "2"]


def to_and_fro(
    machines: Machines, moves: int, *options: str, program: list[str] = STRESS
) -> list[dict[str, Any]]:
    """A program that does everything to its memory, moved again and again."""
    containers.start(machines[0], "stress", [], program)
    goes_on(machines[0], "stress")
    results = []
    for turn in range(moves):
        source, target = machines[turn % 2], machines[(turn + 1) % 2]
        results.append(move(source, target, "stress", *options))
        goes_on(target, "stress")
        assert wrong(target, "stress") == []
    return results


def test_there_is_only_the_one_hierarchy(machines: Machines) -> None:
    for machine in machines:
        assert machine.run(["grep", "-c", " cgroup ", "/proc/mounts"], check=False).stdout == "0\n"
        assert machine.run(["uname", "-r"]).stdout.startswith("6.12.")
        found = machine.run([MIGRATE, "doctor"]).stdout
        assert "v2, froze a process" in found


def test_stop_copy(clean: Machines) -> None:
    assert [r["mode"] for r in to_and_fro(clean, 2, "--mode", "stop-copy")] == ["stop-copy"] * 2


def test_pre_copy_by_write_protection(clean: Machines) -> None:
    assert [r["mode"] for r in to_and_fro(clean, 4, "--mode", "pre-copy")] == ["pre-copy"] * 4


def test_pre_copy_by_soft_dirty(clean: Machines) -> None:
    results = to_and_fro(clean, 4, "--mode", "pre-copy", "--tracker", "soft-dirty")
    for result in results:
        rounds = [e["bytes"] for e in result["events"] if e.get("event") == "round"]
        assert min(rounds[1:]) < 0.8 * rounds[0], "what is not written is not sent again"


@pytest.mark.parametrize("mode", ["pre-copy", "hybrid", "post-copy"])
def test_every_page_is_the_same(clean: Machines, mode: str) -> None:
    """With huge pages `always`, as Debian's kernel has it."""
    for machine in clean:
        setting = machine.run(["cat", "/sys/kernel/mm/transparent_hugepage/enabled"]).stdout
        assert "[always]" in setting
    assert [r["mode"] for r in to_and_fro(clean, 2, "--mode", mode, "--verify")] == [mode] * 2


@pytest.mark.parametrize("tracker", ["wp-async", "soft-dirty"])
def test_page_tables_that_move_whole(clean: Machines, tracker: str) -> None:
    program = ["/usr/bin/python3", "/bench/remap.py"]
    to_and_fro(clean, 2, "--mode", "pre-copy", "--tracker", tracker, program=program)


def test_the_tracker_is_told(clean: Machines) -> None:
    containers.start(clean[0], "stress", [], STRESS)
    for wanted, found in (("auto", "wp-async"), ("soft-dirty", "soft-dirty")):
        told = clean[0].run([
            MIGRATE, "move", "stress", clean[1].ssh_target, "--mode", "pre-copy", "--explain",
            "--tracker", wanted,
        ]).stdout  # fmt: skip
        assert f"tracker    {found}\n" in told


@pytest.mark.parametrize("mode", ["stop-copy", "pre-copy"])
def test_redis_under_a_client(clean: Machines, mode: str) -> None:
    containers.start(
        clean[0], "redis",
        ["--network", "bridge", "--bridge", "br-lan", "--ip", f"{ADDRESS}/24"],
        ["/usr/bin/redis-server", "--port", "6379", "--protected-mode", "no", "--save", "",
         "--dir", "/data", "--daemonize", "no"],
    )  # fmt: skip
    redis_in_container.wait_for(clean[1], ADDRESS, limit=30, python="python3")
    client = redis_in_container.Client(
        clean[1], ADDRESS, "python3", program=str(PROGRAMS / "redisclient.py")
    )
    for turn in range(2):
        move(clean[turn % 2], clean[(turn + 1) % 2], "redis", "--mode", mode)
    report = client.finish()
    assert report.errors == ()
    assert report.found == report.written > 50


def test_limits_go_along(clean: Machines) -> None:
    containers.start(
        clean[0], "stress", ["--memory", "256m", "--cpus", "1.5", "--pids-limit", "50"], STRESS
    )
    goes_on(clean[0], "stress")
    move(clean[0], clean[1], "stress")
    (group,) = clean[1].run(["sh", "-c", "ls -d /sys/fs/cgroup/migrate/*/"]).stdout.split()
    for file, value in (
        ("memory.max", str(256 << 20)), ("cpu.max", "150000 100000"), ("pids.max", "50"),
        ("cgroup.freeze", "0"),
    ):  # fmt: skip
        assert clean[1].run(["cat", group + file]).stdout.strip() == value
    clean[1].run([MIGRATE, "pause", "stress"])
    assert "frozen 1" in clean[1].run(["cat", f"{group}cgroup.events"]).stdout
    clean[1].run([MIGRATE, "resume", "stress"])
    goes_on(clean[1], "stress")


def test_a_container_that_writes_too_fast_is_slowed(clean: Machines) -> None:
    containers.start(
        clean[0], "load", ["--network", "bridge", "--bridge", "br-lan", "--ip", f"{ADDRESS}/24"],
        ["/usr/bin/python3", "-I", "-S", "/bench/memory.py", "24", "4000", "random", "7000"],
    )  # fmt: skip
    told = move(
        clean[0], clean[1], "load", "--mode", "pre-copy", "--auto-converge", "--bandwidth", "30"
    )
    assert any(str(e.get("name", "")).startswith("slowed to") for e in told["events"])
    (group,) = clean[1].run(["sh", "-c", "ls -d /sys/fs/cgroup/migrate/*/"]).stdout.split()
    assert clean[1].run(["cat", f"{group}cpu.max"]).stdout.startswith("max ")
