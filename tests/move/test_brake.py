"""A container that writes too fast is slowed, and gets back what it had."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from migrate.move.brake import LEAST, Brake, give_back
from migrate.runtime.cgroups.group import ControlGroup
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.test_move import traces
from tests.move.test_precopy import PROGRAMS

BENCH = PROGRAMS.parents[2] / "migrate" / "bench" / "workloads"


@pytest.fixture
def group() -> Iterator[ControlGroup]:
    made = ControlGroup.of(f"brake{os.getpid()}")
    made.create()
    yield made
    made.kill()
    made.remove()


@contextlib.contextmanager
def busy(group: ControlGroup) -> Iterator[None]:
    process = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
    try:
        group.add(process.pid)
        yield
    finally:
        process.kill()
        process.wait()


def quota(group: ControlGroup) -> float:
    """The limit in cores, 0 for none, as the kernel has it."""
    if "cpu" in group.layout.v1:
        directory = group.layout.v1["cpu"] / "migrate" / group.name
        value = int((directory / "cpu.cfs_quota_us").read_text())
        return max(value, 0) / int((directory / "cpu.cfs_period_us").read_text())
    assert group.layout.v2
    value, period = (group.layout.v2 / "migrate" / group.name / "cpu.max").read_text().split()
    return 0.0 if value == "max" else int(value) / int(period)


@pytest.mark.root
@pytest.mark.parametrize("usual", [0.0, 0.8])
def test_it_is_slowed_in_steps_and_gets_back_what_it_had(group: ControlGroup, usual: float) -> None:
    if usual:
        group.set_cpus(usual)
    with busy(group):
        brake = Brake(group, usual)
        steps = [0.0]
        while True:
            # Until it has used what it may: on a busy machine it waits for a processor, too.
            seen, least = group.cpu_seconds(), 0.3 * (steps[-1] or 0.5)
            assert eventually(lambda s=seen, more=least: group.cpu_seconds() - s >= more)
            cores = brake.tighten()
            if not cores:
                break
            assert quota(group) == pytest.approx(cores, abs=0.01)
            steps.append(cores)
        assert len(steps) >= 3
        assert steps[-1] < 5 * LEAST
        assert steps[1:] == sorted(steps[1:], reverse=True)
        brake.release()
    assert quota(group) == pytest.approx(usual)


@pytest.mark.root
def test_an_idle_one_is_left_alone(group: ControlGroup) -> None:
    brake = Brake(group, 0.0)
    time.sleep(0.05)
    assert brake.tighten() == 0.0
    assert quota(group) == 0.0
    give_back(group, 0.5)
    assert quota(group) == pytest.approx(0.5)


@pytest.fixture
def writer(lan: Lan) -> Iterator[tuple[Host, Host]]:
    """A container on the first host that writes more than its link to the other can carry."""
    from migrate.bench.hosts import make_image

    source, target = lan.host("alpha"), lan.host("beta")
    make_image(lan.shared / "bench.tar", [source, target], MIGRATE)
    source.run([
        MIGRATE, "run", "-d", "--name", "writer", "-v", "/usr:/usr:ro", "-v", f"{BENCH}:/bench:ro",
        "bench", "/usr/bin/python3", "/bench/memory.py", "24", "40000", "random", "7000",
    ])  # fmt: skip
    assert eventually(lambda: "ready" in source.run([MIGRATE, "logs", "writer"]).stdout, 60)
    yield source, target
    for host in (source, target):
        host.run([MIGRATE, "recover"], check=False)
        host.run([MIGRATE, "rm", "-f", "writer"], check=False)
        assert eventually(lambda at=host: not traces(at)), traces(host)


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_a_move_slows_its_container_and_a_rollback_gives_back(writer: tuple[Host, Host]) -> None:
    source, target = writer
    command = [
        MIGRATE, "move", "--mode", "pre-copy", "--auto-converge", "writer", target.ssh_target,
        "--json", "--bandwidth",
    ]  # fmt: skip
    # So slow that it writes faster, even with a small part of a busy machine's time.
    child = source.popen([*command, "100"], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    events = (json.loads(line) for line in child.stdout)
    assert any(e.get("name", "").startswith("slowed to") for e in events)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    files = "/sys/fs/cgroup/cpu/migrate/*/cpu.cfs_quota_us /sys/fs/cgroup/migrate/*/cpu.max"
    told = source.run(["sh", "-c", f"cat {files} 2>/dev/null"], check=False).stdout
    assert told.split()[0] in {"-1", "max"}
    done = source.run([*command, "400"]).stdout
    assert json.loads(done.splitlines()[-1])["result"]["mode"] == "pre-copy"
