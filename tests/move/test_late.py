"""Modes post-copy and hybrid: memory that follows after the thaw, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from migrate.kernel.processes import start_time
from migrate.move.errors import MemoryGone, MoveRolledBack, MoveUncertain, PagesOwed
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts import redis as redis_in_container
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import held_move, kill, processes
from tests.move.fixtures import containers, writes_on
from tests.move.test_move import move
from tests.move.test_precopy import (
    ADDRESS,
    clean,
    goes_on,
    output,
    page_servers,
    pair,
    start,
)

__all__ = ["clean", "pair"]
pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
LATE = ("post-copy", "hybrid")
LIMIT = 60.0


def wrong(host: Host) -> list[str]:
    return [line for line in output(host, "stress") if "WRONG" in line]


@pytest.mark.timeout(240)
def test_a_program_that_does_everything_to_its_memory(clean: tuple[Host, Host]) -> None:
    start(clean[0], "stress", "stress.py", "4")
    goes_on(clean[0], "stress")
    for turn in range(4):  # many more in `make soak`
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        mode = LATE[turn // 2]
        assert move(source, target, "stress", "--mode", mode)["mode"] == mode
        assert "stress" not in containers(source)
        goes_on(target, "stress")
    assert wrong(clean[0]) == []


@pytest.mark.timeout(120)
def test_processes_that_are_born_all_the_time(clean: tuple[Host, Host]) -> None:
    """Some have begun since the connection for requests was opened: their pages are asked for."""
    clean[0].run([
        MIGRATE, "run", "-d", "--name", "born", "-v", "/usr:/usr:ro", "bench", "/usr/bin/sh", "-c",
        "while :; do i=$((i+1)); echo $i; /usr/bin/sleep 0.03; done",
    ])  # fmt: skip
    for turn in range(2):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "post-copy", "born", target.ssh_target]
        source.run(command)
        goes_on(target, "born")
    told = [int(line) for line in output(clean[0], "born")]
    assert told == list(range(1, len(told) + 1))


@pytest.mark.timeout(240)
def test_redis_under_a_client(lan: Lan, clean: tuple[Host, Host]) -> None:
    onlooker = lan.client()
    redis_in_container.start(clean[0], "redis", ADDRESS)
    redis_in_container.wait_for(onlooker, ADDRESS)
    client = redis_in_container.Client(onlooker, ADDRESS)
    for turn in range(2):
        move(clean[turn % 2], clean[(turn + 1) % 2], "redis", "--mode", LATE[turn % 2])
    assert writes_on(client, 300)
    report = client.finish()
    assert report.errors == ()
    assert report.found == report.written


def test_auto_lets_the_rest_follow_when_the_pause_would_not_fit(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "holder.py", "64")
    goes_on(source, "stress")
    taken = move(source, target, "stress", "--max-downtime", "1")
    assert taken["mode"] == "hybrid"
    goes_on(target, "stress")
    assert wrong(target) == []


def test_the_risk_is_told_before(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "stress.py", "1")
    told = source.run([MIGRATE, "move", "--mode", "post-copy", "stress", target.ssh_target,
                       "--dry-run"]).stdout  # fmt: skip
    assert "the container is lost" in told


def held_while_serving(source: Host, target: Host) -> tuple[subprocess.Popen[str], int]:
    """A post-copy move of `stress`, thawed at the target, whose memory stays here for now."""
    return held_at("serving", source, target)


def held_at(point: str, source: Host, target: Host) -> tuple[subprocess.Popen[str], int]:
    """A post-copy move of `stress` that has come so far."""
    start(source, "stress", "stress.py", "3")
    goes_on(source, "stress")
    return held_move(source, target, "stress", point, "--mode", "post-copy", "--json")


def test_recover_sends_what_a_killed_command_did_not(clean: tuple[Host, Host]) -> None:
    source, target = clean
    command, held = held_while_serving(source, target)
    kill([held])
    command.wait(LIMIT)
    before = len(output(target, "stress"))
    time.sleep(0.5)
    assert len(output(target, "stress")) <= before + 5, "it can't run without its memory"
    told = source.run([MIGRATE, "recover"]).stdout
    assert "finished; it runs on" in told
    assert "stress" not in containers(source)
    goes_on(target, "stress")
    assert wrong(target) == []


def test_a_target_that_knows_of_no_move_costs_nothing(clean: tuple[Host, Host]) -> None:
    """Its journal was lost, say: the frozen copy here is all that there may be, and is kept."""
    source, target = clean
    command, held = held_while_serving(source, target)
    moves = "/var/lib/migrate/moves"
    target.run(["sh", "-c", f"mkdir /root/aside && mv {moves}/*.target.journal /root/aside"])
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=LIMIT)
    assert command.returncode == MoveUncertain.code, told
    assert "held frozen" in told
    assert "stress" in containers(source)
    assert source.run([MIGRATE, "recover"], check=False).returncode == PagesOwed.code
    assert "stress" in containers(source)
    target.run(["sh", "-c", f"mv /root/aside/* {moves} && rmdir /root/aside"])
    source.run([MIGRATE, "recover"])
    assert "stress" not in containers(source)
    goes_on(target, "stress")
    assert wrong(target) == []


def test_ctrl_c_ends_the_command_and_not_the_container(clean: tuple[Host, Host]) -> None:
    source, target = clean
    command, held = held_while_serving(source, target)
    os.kill(held, signal.SIGINT)
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=LIMIT)
    assert command.returncode == PagesOwed.code
    assert "migrate recover stress" in told
    source.run([MIGRATE, "recover", "stress"])
    goes_on(target, "stress")
    assert wrong(target) == []


@pytest.mark.timeout(120)
def test_a_link_that_breaks_is_made_anew(clean: tuple[Host, Host]) -> None:
    source, target = clean
    command, held = held_while_serving(source, target)
    kill(processes(target, "sshd", "root@notty"))
    os.kill(held, signal.SIGCONT)
    out, _ = command.communicate(timeout=LIMIT)
    assert command.returncode == 0
    assert "connecting anew" in out
    goes_on(target, "stress")
    assert wrong(target) == []


@pytest.mark.timeout(120)
def test_without_its_link_nothing_is_committed(clean: tuple[Host, Host]) -> None:
    """The target would wait for pages that nobody can send, and the container with it."""
    source, target = clean
    command, held = held_at("dumped", source, target)
    # The link for what is asked for is opened last.
    kill([max(processes(source, "ssh", "--data"), key=start_time)])
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=40)
    assert command.returncode == MoveRolledBack.code, told
    assert "ended during" in told, told
    goes_on(source, "stress")
    assert wrong(source) == []
    assert eventually(lambda: containers(target) == {})


@pytest.mark.timeout(120)
def test_who_needs_a_page_waits_for_the_link(clean: tuple[Host, Host]) -> None:
    source, target = clean
    command, held = held_while_serving(source, target)
    source.cut()
    os.kill(held, signal.SIGCONT)
    time.sleep(2)
    assert command.poll() is None
    source.mend()
    assert command.wait(LIMIT) == 0
    goes_on(target, "stress")
    assert wrong(target) == []


def test_page_servers_are_killed_meanwhile(clean: tuple[Host, Host]) -> None:
    source, target = clean
    command, held = held_while_serving(source, target)
    for turn in range(20):
        if turn == 5:
            os.kill(held, signal.SIGCONT)
        kill(page_servers(target))
        time.sleep(0.01)
    assert command.wait(LIMIT) == 0
    goes_on(target, "stress")
    assert wrong(target) == []


def test_a_container_that_ends_there_needs_nothing_more(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "holder.py", "64")
    goes_on(source, "stress")
    command = source.popen(
        [MIGRATE, "move", "--mode", "post-copy", "--bandwidth", "8", "stress", target.ssh_target],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert eventually(
        lambda: containers(source).get("stress") != "running" and "stress" in containers(target),
        LIMIT,
    )
    goes_on(target, "stress")
    target.run([MIGRATE, "rm", "-f", "stress"])
    assert command.wait(30) == 0, "at this rate all of it takes a minute"
    assert containers(source) == containers(target) == {}


def test_memory_that_is_lost_is_said_so(clean: tuple[Host, Host]) -> None:
    """The frozen copy was killed: nobody claims that all is well, and nothing becomes zero."""
    source, target = clean
    command, held = held_while_serving(source, target)
    frozen = json.loads(source.run([MIGRATE, "inspect", "stress"]).stdout)["status"]["pid"]
    kill_frozen(source, frozen)
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=LIMIT)
    assert command.returncode == MemoryGone.code, told
    assert wrong(target) == []
    target.run([MIGRATE, "rm", "-f", "stress"])
    source.run([MIGRATE, "recover"])
    assert containers(source) == containers(target) == {}


def kill_frozen(source: Host, pid: int) -> None:
    """On cgroup v1 a frozen task dies when it is thawed."""
    source.run(["kill", "-9", str(pid)])
    thaw = "for f in $(find /sys/fs/cgroup/freezer/ -name freezer.state); do echo THAWED > $f; done"
    source.run(["sh", "-c", thaw], check=False)
    assert eventually(lambda: source.run(["kill", "-0", str(pid)], check=False).returncode != 0)
