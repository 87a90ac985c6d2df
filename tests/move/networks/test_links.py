"""Moves over bad links: late, lossy, slow, cut for a while. A move survives them, or rolls back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from migrate.bench.network import Client
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding
from tests.move.networks import site
from tests.move.networks.site import Joined, Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
Ends = tuple[Host, Host]


@pytest.fixture
def ends(hosts: Trio) -> Ends:
    """Of the moves; the client is on neither."""
    return hosts[:2]


@pytest.fixture
def client(hosts: Trio, joined: Joined) -> Iterator[Client]:
    """Of a server on the first host; afterwards all cables are whole."""
    site.run_joined(hosts[0], "server", *joined.options)
    with Client(joined.place, joined.address) as made:
        yield made
    for host in hosts:
        host.set_cable()
        host.set_rate(None)


def with_drivers(name: str, cases: Sequence[object]) -> pytest.MarkDecorator:
    """Each case with one driver in turn; with all of them in `make soak`."""
    pairs = [(case, driver) for case in cases for driver in site.DRIVERS]
    if not site.SOAK:
        pairs = [(case, site.DRIVERS[n % len(site.DRIVERS)]) for n, case in enumerate(cases, 1)]
    return pytest.mark.parametrize((name, "joined"), pairs, indirect=["joined"])


def late(host: Host) -> None:
    host.set_cable(delay=0.02)


def lossy(host: Host) -> None:
    host.set_cable(loss=0.01)


def slow(host: Host) -> None:
    host.set_rate(20)


@pytest.mark.timeout(240)
@with_drivers("spoil", [late, lossy, slow])
def test_a_move_survives_a_bad_link(
    ends: Ends, client: Client, spoil: Callable[[Host], None]
) -> None:
    spoil(ends[1])
    site.move(*ends, "server")
    assert site.answers_on(client, 10)


@pytest.mark.timeout(240)
@with_drivers("point", ["prepared", "memory-sent", "frozen", "dumped", "restored", "committing"])
def test_a_path_that_is_mended_in_time_does_no_harm(ends: Ends, client: Client, point: str) -> None:
    """Cut for a second at each phase, and mended: the move goes on."""
    alpha, beta = ends
    holding.arm(alpha, point)
    command = alpha.popen([MIGRATE, "move", "--mode", "pre-copy", "server", beta.ssh_target])
    held = holding.wait_until_held(alpha, "move", command)
    beta.cut()
    os.kill(held, signal.SIGCONT)
    time.sleep(1)
    beta.mend()
    assert command.wait(120) == 0
    assert site.answers_on(client, 10)


@pytest.mark.timeout(240)
@with_drivers("point", ["frozen", "dumped"] if site.SOAK else ["dumped"])
def test_a_path_that_stays_cut_rolls_back(ends: Ends, client: Client, point: str) -> None:
    alpha, beta = ends
    holding.arm(alpha, point)
    command = alpha.popen([MIGRATE, "move", "--mode", "pre-copy", "server", beta.ssh_target])
    held = holding.wait_until_held(alpha, "move", command)
    beta.cut()
    os.kill(held, signal.SIGCONT)
    try:
        assert command.wait(120) != 0
        assert site.answers_on(client, 10)
    finally:
        beta.mend()
