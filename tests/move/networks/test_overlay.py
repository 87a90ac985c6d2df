"""Containers of an overlay network move: nobody's connection ends, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from migrate.bench.network import Client
from migrate.bench.networksite import Place
from tests.engine import eventually
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding
from tests.move.networks import site
from tests.move.networks.site import Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
NETWORK, SERVER, OTHER = "blue", "10.99.0.20", "10.99.0.30"


@pytest.fixture
def trio(hosts: Trio) -> Iterator[Trio]:
    """Three hosts with the network; afterwards nothing of it is left."""
    with site.network(hosts, NETWORK, "overlay"):
        yield hosts


def client_of(host: Host, name: str) -> Place:
    """A place in a container of the network that does nothing."""
    return Place((), SERVER, site.Within(host, site.run_idle(host, name, NETWORK)).popen)


@pytest.mark.timeout(240)
def test_moves_under_a_client_on_a_third_host(trio: Trio) -> None:
    alpha, beta, gamma = trio
    place = client_of(gamma, "client")
    empty = site.dump(alpha)
    site.run_server(beta, "server", NETWORK, SERVER, "--ip6", "fd99::20")
    elsewhere = site.dump(alpha)
    with Client(place, SERVER) as client, Client(place, "fd99::20") as client6:
        ends = (beta, alpha)
        for turn in range(site.TURNS):
            site.move(ends[turn % 2], ends[(turn + 1) % 2], "server")
        for each in (client, client6):
            assert eventually(lambda c=each: c.mark()["answers"] > 200 * site.TURNS)
            assert site.answers_on(each)
    assert site.changes(elsewhere, alpha) == []
    beta.run([MIGRATE, "rm", "-f", "server"])
    assert site.changes(empty, alpha) == []


COUNT = """
import glob, select, socket, sys
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packet.bind((glob.glob("/sys/class/net/mv-*")[0].split("/")[-1], 3))
print("up", flush=True)
count = 0
while True:
    ready, _, _ = select.select([packet, sys.stdin], [], [])
    if sys.stdin in ready:
        print(count)
        break
    count += packet.recv(64)[12:14] in {b"\\x08\\x00", b"\\x08\\x06"}
"""
"""Counts the IPv4 and ARP frames that come over the segment, until its input ends."""


@pytest.mark.timeout(240)
def test_nothing_is_sent_to_a_host_that_has_no_part_in_it(trio: Trio) -> None:
    """The entries are ours: who talks need not ask all hosts first."""
    alpha, beta, gamma = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    place = client_of(beta, "client")
    counter = gamma.popen(
        ["python3", "-c", COUNT], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert counter.stdout.readline() == "up\n"
    with Client(place, SERVER) as client:
        assert eventually(lambda: client.mark()["answers"] > 100)
    assert counter.communicate("")[0] == "0\n"


@pytest.mark.timeout(240)
def test_two_containers_go_on_talking_while_both_move(trio: Trio) -> None:
    alpha, beta, _ = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    site.run_talker(beta, "talker", NETWORK, OTHER, SERVER)
    server, talker = (alpha, beta), (beta, alpha)
    for _ in range(3):
        moves = [
            site.begin_move(*server, "server"),
            site.begin_move(*talker, "talker"),
        ]
        for child in moves:
            said, _ = child.communicate(timeout=100)
            assert child.returncode == 0, said
        server, talker = server[::-1], talker[::-1]
        count = answers(talker[0])
        assert eventually(lambda at=talker[0], n=count: answers(at) > n), log(talker[0])


def log(host: Host) -> str:
    return str(host.run([MIGRATE, "logs", "talker"]).stdout)


def answers(host: Host) -> int:
    """As the talker's last line tells; it prints none any more when something has gone wrong."""
    lines = log(host).splitlines()
    return int(lines[-1].split()[0]) if lines else 0


@pytest.mark.timeout(240)
def test_a_move_that_fails_leaves_all_as_it_was(trio: Trio) -> None:
    alpha, beta, gamma = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    place = client_of(gamma, "client")
    before = [site.dump(host) for host in trio]
    with Client(place, SERVER) as client:
        holding.arm(alpha, "restored")
        command = site.begin_move(alpha, beta, "server")
        held = holding.wait_until_held(alpha, "move", command)
        os.kill(held, signal.SIGINT)
        os.kill(held, signal.SIGCONT)
        assert command.wait(120) != 0
        assert site.answers_on(client)
    assert [site.changes(b, h) for b, h in zip(before, trio, strict=True)] == [[], [], []]


@pytest.mark.timeout(240)
def test_a_peer_that_was_down_asks_and_is_told(trio: Trio) -> None:
    alpha, beta, gamma = trio
    gamma.cut()
    told = alpha.run([
        MIGRATE, "run", "-d", "--name", "server", "--network", NETWORK, "-v", "/usr:/usr:ro",
        "bench", "/usr/bin/sleep", "1000",
    ])  # fmt: skip
    assert gamma.address in told.stderr
    assert "network sync" in told.stderr
    gamma.mend()
    gamma.run([MIGRATE, "network", "sync", NETWORK])
    assert "PERMANENT" in gamma.run(["ip", "neigh", "show", "dev", f"mb-{NETWORK}"]).stdout
    assert beta.address not in told.stderr


@pytest.mark.timeout(240)
def test_the_end_of_a_container_in_the_foreground_is_told(trio: Trio) -> None:
    alpha, beta, _ = trio
    alpha.run([
        MIGRATE, "run", "--rm", "--network", NETWORK, "--ip", OTHER, "-v", "/usr:/usr:ro",
        "bench", "/usr/bin/true",
    ])  # fmt: skip
    assert OTHER not in beta.run(["ip", "neigh", "show", "dev", f"mb-{NETWORK}"]).stdout


def entries(host: Host) -> list[str]:
    """Whom the segment knows."""
    marks = ("PERMANENT", "extern_learn", "00:00:00:00:00:00 dev mv")
    return [line for line in site.dump(host) if any(mark in line for mark in marks)]


@pytest.mark.timeout(240)
def test_after_a_reboot_all_is_as_it_was(trio: Trio) -> None:
    alpha, beta, _ = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    place = client_of(beta, "client")
    known = entries(beta)
    beta.reboot()
    beta.run([MIGRATE, "start", "client"])
    assert eventually(lambda: entries(beta) == known), (entries(beta), known)
    assert len(known) > 3
    with Client(place, SERVER) as client:
        assert eventually(lambda: client.mark()["answers"] > 100)


def test_what_does_not_fit_is_refused(trio: Trio) -> None:
    alpha, beta, _ = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    for arguments, words in (
        (("run", "-d", "--network", NETWORK, "--ip", SERVER, "bench", "/usr/bin/true"), "is taken"),
        (("network", "create", "x", "--driver", "overlay", "--peer", alpha.address), "subnet"),
        (("network", "create", "x", "--driver", "overlay", "--subnet", "10.98.0.0/24"), "--peer"),
        (("network", "create", "x", "--driver", "overlay", "--subnet", "10.98.0.0/24", "--peer",
          alpha.address, "--mtu", "1500"), "1450"),
        (("network", "create", "x", "--driver", "overlay", "--subnet", "10.98.0.0/24", "--peer",
          "alpha.example"), "address"),
    ):  # fmt: skip
        done = beta.run([MIGRATE, *arguments], check=False)
        assert done.returncode != 0
        assert words in done.stderr, done.stderr
    assert beta.run([MIGRATE, "network", "ls", "-q"]).stdout.split() == ["bridge", NETWORK]


@pytest.mark.timeout(240)
def test_a_published_port_follows(trio: Trio) -> None:
    alpha, beta, gamma = trio
    outside = Place((), SERVER, gamma.popen)
    before = [site.dump(host) for host in trio]
    site.run_server(alpha, "server", NETWORK, SERVER, "-p", f"{site.PORT}:{site.PORT}")
    for source, target in ((alpha, beta), (beta, alpha)):
        with Client(outside, source.address) as client:
            assert site.answers_on(client)
        site.move(source, target, "server")
    alpha.run([MIGRATE, "rm", "-f", "server"])
    assert [site.changes(b, h) for b, h in zip(before, trio, strict=True)] == [[], [], []]
