"""Moves of real containers between two hosts: Redis under a client, files, volumes, refusals."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from migrate.checkpoint.errors import NotDumpable
from migrate.transfer.errors import AuthenticationFailed, HostUnreachable
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts import redis as redis_in_container
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import (
    containers,
    counts_on,
    is_gapless,
    make_counter_image,
    start_counter,
    writes_on,
)  # fmt: skip

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
REDIS_ADDRESS = "10.77.0.120"


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    make_counter_image(lan.shared, alpha)
    redis_in_container.make_image(lan.shared, alpha)
    return alpha, beta


@pytest.fixture
def clean(pair: tuple[Host, Host]) -> Iterator[tuple[Host, Host]]:
    """Both hosts; afterwards no container, network or journal is on either."""
    yield pair
    for host in pair:
        for name in containers(host):
            host.run([MIGRATE, "rm", "-f", name])
        assert eventually(lambda at=host: not traces(at)), traces(host)


def traces(host: Host) -> list[str]:
    """What a container or a move leaves if it leaves anything."""
    script = (
        "ls /var/lib/migrate/containers /run/migrate/netns /var/lib/migrate/moves/incoming "
        "/var/lib/migrate/moves/outgoing 2>/dev/null | grep -v -e : -e '^$'; "
        "ls /var/lib/migrate/moves | grep journal; ip -br link | grep ^m[gs]; "
        "ls -d /sys/fs/cgroup/*/migrate/*/ 2>/dev/null; grep /run/migrate/ /proc/mounts; true"
    )
    return host.run(["sh", "-c", script]).stdout.split()


def move(source: Host, target: Host, name: str = "counter", *options: str) -> dict[str, object]:
    told = source.run([MIGRATE, "move", name, target.ssh_target, "--json", *options]).stdout
    result = json.loads(told.splitlines()[-1])["result"]
    assert isinstance(result, dict)
    return result


def refused(source: Host, *arguments: str) -> tuple[int, str]:
    """Exit status and error text of a move that must not happen."""
    done = source.run([MIGRATE, "move", *arguments], check=False)
    assert done.returncode != 0
    assert "cause:" in done.stderr
    assert "next:" in done.stderr
    return done.returncode, done.stderr


@pytest.mark.timeout(240)
def test_twenty_moves_under_a_client(lan: Lan, clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    onlooker = lan.client()
    redis_in_container.start(alpha, "redis", REDIS_ADDRESS)
    redis_in_container.wait_for(onlooker, REDIS_ADDRESS)
    client = redis_in_container.Client(onlooker, REDIS_ADDRESS)
    hosts = (alpha, beta)
    for turn in range(20):
        result = move(hosts[turn % 2], hosts[(turn + 1) % 2], "redis")
        assert result["generation"] == turn + 2
    assert writes_on(client, 1000)
    report = client.finish()
    assert report.errors == ()
    assert report.found == report.written
    assert containers(alpha) == {"redis": "running"}
    assert containers(beta) == {}


def test_nothing_is_lost_or_left(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha, "counter", "-v", "things:/things", "--hostname", "mover")
    alpha.run([MIGRATE, "exec", "counter", "sh", "-c",
               "echo kept > /things/file; echo also > /data/file; rm /etc/group"])  # fmt: skip
    result = move(alpha, beta)
    assert result["mode"] == "stop-copy"
    assert traces(alpha) == []
    assert not list((alpha.disk / "volumes").glob("things/*"))
    assert counts_on(beta)
    assert is_gapless(beta)

    def inside(*command: str) -> str:
        return beta.run([MIGRATE, "exec", "counter", *command]).stdout.strip()

    assert inside("cat", "/things/file") == "kept"
    assert inside("cat", "/data/file") == "also"
    assert "group" not in inside("ls", "/etc").split()
    assert inside("cat", "/proc/sys/kernel/hostname") == "mover"
    beta.run([MIGRATE, "stop", "-t", "1", "counter"])
    beta.run([MIGRATE, "start", "counter"])
    assert counts_on(beta)


def test_a_rootfs_directory_becomes_a_layer(lan: Lan, clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    from tests.hosts.rootfs import make_rootfs
    from tests.move.fixtures import COUNTER

    rootfs = make_rootfs(lan.shared / "plain")
    alpha.run([MIGRATE, "run", "-d", "--name", "counter", "--rootfs", str(rootfs),
               "/bin/sh", "-c", COUNTER])  # fmt: skip
    move(alpha, beta)
    assert counts_on(beta)
    move(beta, alpha)
    assert counts_on(alpha)
    assert is_gapless(alpha)


def test_cold(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    alpha.run([MIGRATE, "exec", "counter", "sh", "-c", "echo kept > /data/file"])
    assert move(alpha, beta, "counter", "--mode", "cold", "--stop-time", "1")["mode"] == "cold"
    assert counts_on(beta)
    assert beta.run([MIGRATE, "exec", "counter", "cat", "/data/file"]).stdout == "kept\n"
    beta.run([MIGRATE, "stop", "-t", "1", "counter"])
    assert move(beta, alpha)["mode"] == "cold"  # a stopped container, by auto
    assert containers(alpha) == {"counter": "stopped"}


def test_dry_run_touches_nothing(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    told = alpha.run([MIGRATE, "move", "counter", beta.ssh_target, "--dry-run"]).stdout
    assert "stop-copy" in told
    assert "obstacles  none" in told
    assert containers(alpha) == {"counter": "running"}
    assert traces(beta) == []


def test_plain_lines_where_there_is_no_terminal(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    done = alpha.run([MIGRATE, "move", "counter", beta.ssh_target])
    assert "freezing" in done.stderr
    assert "runs on" in done.stdout
    assert "restore" in done.stdout


def test_unknown_container(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    assert refused(alpha, "nobody", beta.ssh_target)[0] == 35


def test_dead_host(clean: tuple[Host, Host]) -> None:
    alpha, _beta = clean
    start_counter(alpha)
    status, told = refused(alpha, "counter", "root@10.77.0.99")
    assert status == HostUnreachable.code
    assert "10.77.0.99" in told
    assert counts_on(alpha)


def test_wrong_key(lan: Lan, clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    alpha.run(["sh", "-c", "mkdir /run/away && mv /root/.ssh/id_* /run/away"])
    try:
        status, _told = refused(alpha, "counter", beta.ssh_target)
        assert status == AuthenticationFailed.code
    finally:
        alpha.run(["sh", "-c", "mv /run/away/* /root/.ssh"])
    assert counts_on(alpha)


def test_name_taken(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    make_and_stop = ["run", "-d", "--name", "counter", "--rootfs", "/", "/bin/sleep", "60"]
    beta.run([MIGRATE, *make_and_stop])
    assert refused(alpha, "counter", beta.ssh_target)[0] == 36
    assert counts_on(alpha)


def test_address_taken(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    network = ["--network", "bridge", "--bridge", "br-lan", "--ip", "10.77.0.121/24"]
    beta.run([MIGRATE, "run", "-d", "--name", "other", *network, "--rootfs", "/",
              "/bin/sleep", "60"])  # fmt: skip
    beta.cut()  # alpha must not notice by itself that the address is in use
    try:
        start_counter(alpha, "counter", *network)
    finally:
        beta.mend()
    assert refused(alpha, "counter", beta.ssh_target)[0] == 43
    assert counts_on(alpha)


def test_full_disk(clean: tuple[Host, Host]) -> None:
    """The target's disk fills while the data comes: rolled back, and nothing left there."""
    alpha, beta = clean
    start_counter(alpha)
    moves = "/var/lib/migrate/moves"
    beta.run(["sh", "-c", f"mkdir -p {moves} && mount -t tmpfs -o size=124k tmpfs {moves}"])
    try:
        status, told = refused(alpha, "counter", beta.ssh_target)
        assert status in {11, 91, 96}
        assert "runs here as before" in told or "full" in told
    finally:
        beta.run(["umount", "-l", moves])
    assert counts_on(alpha)
    assert is_gapless(alpha)


def test_full_disk_at_the_source(clean: tuple[Host, Host]) -> None:
    """The dump fills the source's disk, so that not even the journal can be written."""
    alpha, beta = clean
    start_counter(alpha)
    moves = "/var/lib/migrate/moves"
    alpha.run(["sh", "-c", f"mkdir -p {moves} && mount -t tmpfs -o size=124k tmpfs {moves}"])
    try:
        status, told = refused(alpha, "counter", beta.ssh_target)
        assert status in {11, 91}
        assert "runs here as before" in told
        assert counts_on(alpha)
        assert not alpha.run(["ls", moves + "/outgoing"]).stdout.strip()
    finally:
        alpha.run(["umount", "-l", moves])
    assert is_gapless(alpha)
    assert not beta.run(["ls", "/var/lib/migrate/containers"]).stdout.strip()


def test_criu_too_old_at_the_target(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    from migrate.criu.provide import home

    start_counter(alpha)
    chosen = home() / "chosen.json"
    old = json.loads(chosen.read_text()) | {"version": "3.17.1"}
    beta.run(["sh", "-c", f"cat > /run/old.json && mount --bind /run/old.json {chosen}"],
             input=json.dumps(old))  # fmt: skip
    try:
        status, told = refused(alpha, "counter", beta.ssh_target)
        assert status == 96
        assert "3.17.1" in told
    finally:
        beta.run(["umount", "-l", str(chosen)])
    assert counts_on(alpha)


def test_an_exec_session_is_named(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    session = alpha.popen(
        [MIGRATE, "exec", "counter", "sh", "-c", "echo there; exec sleep 60"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert session.stdout.readline() == "there\n"
        status, told = refused(alpha, "counter", beta.ssh_target)
        assert status == NotDumpable.code, told
        assert "exec" in told
    finally:
        session.terminate()
        session.wait(30)


def test_the_same_host_is_refused(clean: tuple[Host, Host]) -> None:
    alpha, _beta = clean
    start_counter(alpha)
    assert refused(alpha, "counter", alpha.ssh_target)[0] in {80, 95, 90}


def test_slow_link_shows_progress(clean: tuple[Host, Host]) -> None:
    alpha, beta = clean
    start_counter(alpha)
    told = alpha.run(
        [MIGRATE, "move", "counter", beta.ssh_target, "--bandwidth", "2", "--json"],
        env=dict(os.environ),
    ).stdout  # fmt: skip
    events = [json.loads(line) for line in told.splitlines()]
    assert any(event.get("event") == "bytes" and event["done"] for event in events)
