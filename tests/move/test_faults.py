"""Faults of which more is to be told than that the container lives once (tests/move/faults)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.checkpoint.errors import EndedWithCriu
from migrate.errors import UsageError
from migrate.move.errors import ContainerEnded
from migrate.runtime.errors import MoveUnsettled
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import LIMIT, held_move, kill, processes
from tests.move.fixtures import (
    containers,
    counts_on,
    is_gapless,
    left_of_moves,
    make_counter_image,
    recover,
    start_counter,
)  # fmt: skip

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
MODES = ("stop-copy", "pre-copy")
SOON = ("--patience", "1")  # of `migrate recover`: nobody is to be waited for


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    make_counter_image(lan.shared, alpha, beta)
    return alpha, beta


@pytest.fixture
def counter(pair: tuple[Host, Host]) -> Iterator[tuple[Host, Host]]:
    """The counter on alpha, and nothing on either host afterwards."""
    alpha, beta = pair
    start_counter(alpha)
    yield alpha, beta
    for host in pair:
        kill(processes(host, "migrate", "move"))  # where a test has failed
        host.run([MIGRATE, "recover"], check=False)
        if "counter" in containers(host):
            host.run([MIGRATE, "rm", "-f", "counter"])
        assert eventually(lambda at=host: not places(at)), places(host)


def places(host: Host) -> list[str]:
    """What a container or a move has there."""
    listing = "ls /var/lib/migrate/containers /run/migrate/netns | grep -v :"
    told: list[str] = host.run(["sh", "-c", listing], check=False).stdout.split()
    return told


def with_large_file(host: Host) -> None:
    """Without one, no round of files holds the container."""
    script = "dd if=/dev/urandom of=/data/large bs=1024 count=512"
    host.run([MIGRATE, "exec", "counter", "sh", "-c", script])


def lives_once(source: Host, target: Host) -> None:
    """At most one copy runs now; after `recover` exactly one does, with nothing lost."""
    running = [h for h in (source, target) if containers(h).get("counter") == "running"]
    counting = [h for h in running if counts_on(h, limit=0.3)]
    assert len(counting) <= 1, "two copies run"
    for host in (source, target):
        recover(host)
    running = [h for h in (source, target) if "counter" in containers(h)]
    assert len(running) == 1, "not on exactly one host"
    assert counts_on(running[0])
    assert is_gapless(running[0])
    for host in (source, target):
        assert eventually(lambda at=host: not left_of_moves(at)), left_of_moves(host)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("milliseconds", [1, 8, 20, 40, 70])
def test_criu_killed_while_it_dumps(
    counter: tuple[Host, Host], milliseconds: int, mode: str
) -> None:
    """It lives once, or (docs/transaction.md: one kill in ten at 8 ms) its death is told."""
    source, target = counter
    command, held = held_move(source, target, "counter", "frozen", "--mode", mode)
    doomed = processes(source, "criu", "swrk")
    os.kill(held, signal.SIGCONT)
    time.sleep(milliseconds / 1000)
    kill(doomed)
    _out, told = command.communicate(timeout=LIMIT)
    if command.returncode == EndedWithCriu.code:
        assert "and the container with it" in told
        assert containers(source) == {"counter": "stopped"}
        assert eventually(lambda: "counter" not in containers(target))
    else:
        lives_once(source, target)


def may_shield_from_oom() -> bool:
    """Whether this process has CAP_SYS_RESOURCE (24), as root has but in some sandboxes."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 24 & 1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"])
def test_criu_is_deaf_to_what_ends_a_session(counter: tuple[Host, Host], name: str) -> None:
    source, target = counter
    command, held = held_move(source, target, "counter", "frozen")
    for pid in processes(source, "criu", "swrk"):
        os.kill(pid, getattr(signal, name))
        if may_shield_from_oom():
            assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "-1000"
    os.kill(held, signal.SIGCONT)
    assert command.wait(LIMIT) == 0
    lives_once(source, target)
    assert containers(target) == {"counter": "running"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("milliseconds", [1, 8, 20, 40, 70])
def test_criu_killed_while_it_restores(
    counter: tuple[Host, Host], milliseconds: int, mode: str
) -> None:
    source, target = counter
    command, held = held_move(source, target, "counter", "unpacked", "--mode", mode, there=True)
    doomed = processes(target, "criu", "swrk")
    os.kill(held, signal.SIGCONT)
    time.sleep(milliseconds / 1000)
    kill(doomed)
    command.wait(LIMIT)
    lives_once(source, target)


@pytest.mark.parametrize("mode", MODES)
def test_the_target_reboots_before_commit(counter: tuple[Host, Host], mode: str) -> None:
    source, target = counter
    command, held = held_move(source, target, "counter", "restored", "--mode", mode)
    target.reboot()
    os.kill(held, signal.SIGCONT)
    command.wait(90)
    lives_once(source, target)


@pytest.mark.parametrize(
    ("point", "mode"),
    [(point, mode) for point in ("prepared", "frozen", "restored") for mode in MODES]
    + [("files-held", "pre-copy")],
)
def test_interrupted_by_ctrl_c(counter: tuple[Host, Host], point: str, mode: str) -> None:
    source, target = counter
    if point == "files-held":
        with_large_file(source)
    command, held = held_move(source, target, "counter", point, "--mode", mode)
    os.kill(held, signal.SIGINT)
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=LIMIT)
    assert "interrupted" in told
    assert containers(source)["counter"] == "running"
    assert counts_on(source)
    lives_once(source, target)


@pytest.mark.parametrize("mode", MODES)
def test_the_container_ends_meanwhile(counter: tuple[Host, Host], mode: str) -> None:
    """It has not moved, and nobody claims that it runs as before."""
    source, target = counter
    command, held = held_move(source, target, "counter", "prepared", "--mode", mode)
    pid = json.loads(source.run([MIGRATE, "inspect", "counter"]).stdout)["status"]["pid"]
    source.run(["kill", "-9", str(pid)])
    assert eventually(lambda: containers(source)["counter"] != "running")
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=LIMIT)
    assert command.returncode == ContainerEnded.code, told
    assert "it has ended meanwhile" in told
    assert containers(source) == {"counter": "stopped"}
    assert eventually(lambda: "counter" not in containers(target))
    source.run([MIGRATE, "start", "counter"])
    assert counts_on(source)


@pytest.mark.parametrize("mode", MODES)
def test_doubt_stays_frozen_until_recover(counter: tuple[Host, Host], mode: str) -> None:
    """COMMIT may have been carried out, and the target is out of reach: nobody thaws."""
    source, target = counter
    command, held = held_move(source, target, "counter", "committing", "--mode", mode)
    kill([held])
    command.wait(LIMIT)
    target.cut()
    try:
        told = source.run([MIGRATE, "recover", *SOON], check=False)
        assert told.returncode == 92
        assert "held frozen" in told.stderr
        assert not counts_on(source, limit=0.5)
        for words in (["resume"], ["start"], ["kill"], ["rm", "-f"]):
            refused = source.run([MIGRATE, *words, "counter"], check=False)
            assert refused.returncode == MoveUnsettled.code, (words, refused.stderr)
    finally:
        target.mend()
    lives_once(source, target)


def in_doubt(source: Host, target: Host) -> None:
    """A move whose command was killed before COMMIT, and the target is out of reach."""
    command, held = held_move(source, target, "counter", "committing", "--mode", "pre-copy")
    target.cut()
    kill([held])
    command.wait(LIMIT)


def test_a_person_decides_for_the_source(counter: tuple[Host, Host]) -> None:
    source, target = counter
    in_doubt(source, target)
    try:
        for words in ([], ["counter", "other"]):
            told = source.run([MIGRATE, "recover", "--force-source", *words], check=False)
            assert told.returncode == UsageError.code
        done = source.run([MIGRATE, "recover", *SOON, "--force-source", "counter"])
        assert "warning: if the target does not answer" in done.stderr
        assert "rolled back" in done.stdout
        assert counts_on(source)
        record = json.loads(source.run([MIGRATE, "inspect", "counter"]).stdout)
        assert json.dumps(record).count('"generation": 3') == 1  # the target's would be 2
    finally:
        target.mend()
    lives_once(source, target)
    assert containers(source) == {"counter": "running"}


def test_a_person_decides_for_the_target(counter: tuple[Host, Host]) -> None:
    """It runs there, and only the answer was lost."""
    source, target = counter
    command, held = held_move(
        source, target, "counter", "committed-there", "--mode", "pre-copy", there=True
    )
    target.cut()
    kill([*processes(source, "migrate", "move")])
    os.kill(held, signal.SIGCONT)
    command.wait(LIMIT)
    try:
        assert source.run([MIGRATE, "recover", *SOON], check=False).returncode == 92
        done = source.run([MIGRATE, "recover", *SOON, "--force-target", "counter"])
        assert "is destroyed" in done.stderr
        assert containers(source) == {}
    finally:
        target.mend()
    lives_once(source, target)
    assert containers(target) == {"counter": "running"}


def test_the_answer_of_a_target_counts_more_than_a_person(counter: tuple[Host, Host]) -> None:
    source, target = counter
    in_doubt(source, target)
    target.mend()
    done = source.run([MIGRATE, "recover", "--force-target", "counter"])
    assert "rolled back" in done.stdout  # the target had not committed
    lives_once(source, target)
    assert containers(source) == {"counter": "running"}


def test_a_target_that_is_busy_is_not_lost(counter: tuple[Host, Host]) -> None:
    """Its agent has not learnt yet that nobody is there any more: what it does is waited for."""
    source, target = counter
    command, held = held_move(source, target, "counter", "committing", "--mode", "pre-copy")
    agents = processes(target, "migrate", "agent")
    kill(agents, signal.SIGSTOP)
    kill([held])
    command.wait(LIMIT)
    decided = source.popen(
        [MIGRATE, "recover", "--force-target", "counter"], stdout=subprocess.PIPE, text=True
    )
    time.sleep(5)  # longer than the target waits for its agent
    assert containers(source) != {}
    kill(agents, signal.SIGCONT)
    said, _ = decided.communicate(timeout=LIMIT)
    assert "rolled back" in said
    lives_once(source, target)
    assert containers(source) == {"counter": "running"}
