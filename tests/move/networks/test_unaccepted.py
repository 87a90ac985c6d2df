"""Who is about to be accepted while a container moves is accepted after it, and not reset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.runtime.errors import ContainerUnknown
from tests.engine import eventually
from tests.evacuate.workloads.workload import Reporter
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding
from tests.move.networks import site
from tests.move.networks.site import Joined, Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
PROGRAMS = Path(__file__).parent / "programs"
PORT, CLIENTS = "7300", 8


def run_server(host: Host, joined: Joined, seconds: float) -> None:
    site.run_program(
        host, "server", *joined.options, "-v", f"{PROGRAMS}:/programs:ro",
        program=("/programs/accepting.py", "serve", PORT, str(seconds)),
    )  # fmt: skip
    assert eventually(
        lambda: "ready" in host.run([MIGRATE, "logs", "server"]).stdout, site.START_LIMIT
    )


def call(joined: Joined, count: int = CLIENTS) -> Reporter:
    return Reporter(
        joined.client, str(PROGRAMS / "accepting.py"), "call", joined.address, PORT, str(count)
    )


def sent_again(host: Host) -> int:
    """Requests for a connection that had no answer within a second (TCPSynRetrans)."""
    names, values, *_ = host.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
    return int(dict(zip(names.split(), values.split(), strict=True))["TCPSynRetrans"])


@pytest.fixture
def far(hosts: Trio) -> Iterator[None]:
    """The clients' host has a long way: 10 ms each."""
    hosts[2].set_cable(delay=0.01)
    yield
    hosts[2].set_cable()


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("joined", site.DRIVERS if site.SOAK else ["overlay"], indirect=True)
def test_nobody_in_the_backlog_or_on_the_way_into_it_is_reset(hosts: Trio, joined: Joined) -> None:
    """The server is so slow that there is always somebody waiting."""
    run_server(hosts[0], joined, 0.01)
    clients = call(joined)
    for source, target in ((hosts[0], hosts[1]), (hosts[1], hosts[0])):
        before = clients.mark()
        site.move(source, target, "server")
        assert clients.mark()["errors"] == []
        assert eventually(lambda n=before["calls"]: clients.mark()["calls"] > n + 2 * CLIENTS)
    told = clients.finish()
    assert told["errors"] == []
    assert "error" not in hosts[0].run([MIGRATE, "logs", "server"]).stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize("joined", ["bridge"], indirect=True)
def test_after_a_rollback_they_are_accepted_here(hosts: Trio, joined: Joined) -> None:
    alpha, beta, gamma = hosts
    run_server(alpha, joined, 0.01)
    clients = call(joined)
    holding.arm(beta, "restored-there")
    command = site.begin_move(alpha, beta, "server")
    holding.kill([holding.wait_until_held(beta, "agent", command)])
    assert command.wait(120) != 0
    assert command.returncode != ContainerUnknown.code
    again, before = sent_again(gamma), clients.mark()
    assert eventually(lambda: clients.mark()["calls"] > before["calls"] + 2 * CLIENTS)
    told = clients.finish()
    assert told["errors"] == []
    assert sent_again(gamma) == again, "a first packet was lost, and sent again after a second"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("joined", ["bridge"], indirect=True)
def test_a_server_that_never_accepts_moves_all_the_same(hosts: Trio, joined: Joined) -> None:
    alpha, beta, gamma = hosts
    run_server(alpha, joined, 0)
    connect = f"import socket; socket.create_connection(('{joined.address}', {PORT}), 30)"
    gamma.run(["python3", "-c", f"{connect}.send(b'x'); {connect}"])
    told = alpha.run([MIGRATE, "move", "server", beta.ssh_target, "--json"]).stdout
    assert "connections that nobody accepts" in told
