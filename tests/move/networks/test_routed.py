"""Containers of a routed network move: the routes follow, and nothing stays behind."""

from __future__ import annotations

import os
import signal
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
NETWORK, SERVER, SERVER6 = "green", "10.99.0.20", "fd99::20"


@pytest.fixture
def trio(hosts: Trio) -> Iterator[Trio]:
    """Three hosts with the network; afterwards nothing of it is left."""
    with site.network(hosts, NETWORK, "routed"):
        yield hosts


def place_of(host: Host) -> Place:
    """The host itself: it has routes to all containers of the network."""
    return Place((), SERVER, host.popen)


def routes(host: Host) -> str:
    return str(host.run(["sh", "-c", "ip route; ip -6 route"]).stdout)


@pytest.mark.timeout(240)
def test_moves_under_a_client_on_a_third_host(trio: Trio) -> None:
    alpha, beta, gamma = trio
    empty = site.dump(alpha)
    site.run_server(beta, "server", NETWORK, SERVER, "--ip6", SERVER6)
    elsewhere = site.dump(alpha)
    place = place_of(gamma)
    with Client(place, SERVER) as client, Client(place, SERVER6) as client6:
        ends = (beta, alpha)
        for turn in range(site.TURNS):
            site.move(ends[turn % 2], ends[(turn + 1) % 2], "server")
            there = ends[(turn + 1) % 2].address
            assert f"{SERVER} via {there} " in routes(gamma)
        for each in (client, client6):
            assert eventually(lambda c=each: c.mark()["answers"] > 200 * site.TURNS)
            assert site.answers_on(each)
    assert site.changes(elsewhere, alpha) == []
    beta.run([MIGRATE, "rm", "-f", "server"])
    assert site.changes(empty, alpha) == []


@pytest.mark.timeout(240)
def test_clients_on_both_hosts_of_the_move_keep_their_connections(trio: Trio) -> None:
    """The source's own processes, and another container of the network at the target."""
    alpha, beta, _ = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    inside = site.Within(beta, site.run_idle(beta, "other", NETWORK))
    here, there = place_of(alpha), Place((), SERVER, inside.popen)
    with Client(here, SERVER) as client, Client(there, SERVER) as neighbour:
        for source, target in ((alpha, beta), (beta, alpha)):
            site.move(source, target, "server")
            for each in (client, neighbour):
                assert site.answers_on(each)


@pytest.mark.timeout(240)
def test_a_move_that_fails_leaves_the_routes_as_they_were(trio: Trio) -> None:
    alpha, beta, gamma = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    before = [site.dump(host) for host in trio]
    with Client(place_of(gamma), SERVER) as client:
        holding.arm(alpha, "restored")
        command = site.begin_move(alpha, beta, "server")
        held = holding.wait_until_held(alpha, "move", command)
        os.kill(held, signal.SIGINT)
        os.kill(held, signal.SIGCONT)
        assert command.wait(120) != 0
        assert site.answers_on(client)
    assert [site.changes(b, h) for b, h in zip(before, trio, strict=True)] == [[], [], []]


@pytest.mark.timeout(240)
def test_a_paused_container_answers_nothing_and_then_goes_on(trio: Trio) -> None:
    alpha, _, gamma = trio
    site.run_server(alpha, "server", NETWORK, SERVER)
    with Client(place_of(gamma), SERVER) as client:
        alpha.run([MIGRATE, "pause", "server"])
        assert eventually(lambda: client.mark()["to"] > 0.5)
        alpha.run([MIGRATE, "resume", "server"])
        assert eventually(lambda: client.mark()["to"] < 0.05)


def test_the_containers_gateway_is_the_same_everywhere(trio: Trio) -> None:
    alpha, _, _ = trio
    made = site.run_server(alpha, "server", NETWORK, SERVER, "--ip6", SERVER6)
    namespace = f"--net=/run/migrate/netns/{made}"
    told = alpha.run(["nsenter", namespace, "sh", "-c", "ip route; ip -6 route; ip neigh"]).stdout
    assert "default via 169.254.1.1 dev eth0" in told
    assert "default via fe80::1 dev eth0" in told
    assert told.count("ee:ee:ee:ee:ee:ee PERMANENT") == 2
    assert f"{SERVER} dev mg{made} proto 109" in routes(alpha)


@pytest.mark.timeout(240)
def test_a_published_port_follows(trio: Trio) -> None:
    alpha, beta, gamma = trio
    outside = place_of(gamma)
    before = [site.dump(host) for host in trio]
    site.run_server(alpha, "server", NETWORK, SERVER, "-p", f"{site.PORT}:{site.PORT}")
    for source, target in ((alpha, beta), (beta, alpha)):
        with Client(outside, source.address) as client:
            assert site.answers_on(client)
        site.move(source, target, "server")
    alpha.run([MIGRATE, "rm", "-f", "server"])
    assert [site.changes(b, h) for b, h in zip(before, trio, strict=True)] == [[], [], []]
