"""`migrate check` between real hosts, and here; nothing is touched by it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from migrate.move.errors import ContainerUnfit
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, make_counter_image, start_counter

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]


@pytest.fixture
def counter(lan: Lan, two_hosts: tuple[Host, Host]) -> Iterator[tuple[Host, Host]]:
    alpha, beta = two_hosts
    make_counter_image(lan.shared, alpha)
    start_counter(alpha)
    yield alpha, beta
    for host in two_hosts:
        host.run([MIGRATE, "rm", "-f", *containers(host)], check=False)


def test_what_can_move_passes_every_check(counter: tuple[Host, Host]) -> None:
    alpha, beta = counter
    done = alpha.run([MIGRATE, "check", "counter", beta.address])
    assert "0 obstacles" in done.stdout
    told = json.loads(alpha.run([MIGRATE, "check", "counter", beta.address, "--json"]).stdout)
    assert told["possible"]
    names = [check["check"] for check in told["checks"]]
    assert len(names) == len(set(names))
    assert {"cpu", "clock", "memory", "disk", "open-files", "sockets", "name", "network"} <= set(
        names
    )
    assert {check["state"] for check in told["checks"]} == {"passed"}
    here = json.loads(alpha.run([MIGRATE, "check", "counter", "--json"]).stdout)
    assert {check["check"] for check in here["checks"]} < set(names)
    assert containers(beta) == {}


def test_each_obstacle_is_told_with_its_mend(lan: Lan, counter: tuple[Host, Host]) -> None:
    alpha, beta = counter
    make_counter_image(lan.shared, beta)
    start_counter(beta)  # the name is taken there
    beta.run([MIGRATE, "host", "cordon", "--why", "new kernel"])
    try:
        done = alpha.run([MIGRATE, "check", "counter", beta.address], check=False)
        assert done.returncode == 90
        assert "2 obstacles" in done.stdout
        assert "the name 'counter' is taken" in done.stdout
        assert "new kernel" in done.stdout
        assert "next: rename or remove one of the two" in done.stdout
        moved = alpha.run([MIGRATE, "move", "counter", beta.address], check=False)
        assert moved.returncode == 90
    finally:
        beta.run([MIGRATE, "host", "uncordon"])
    assert counts_on(alpha)


def test_a_check_can_be_skipped_by_name(counter: tuple[Host, Host]) -> None:
    alpha, beta = counter
    refused = alpha.run(
        [MIGRATE, "move", "counter", beta.address, "--skip-check", "nonsense"], check=False
    )
    assert refused.returncode == 2
    assert "none of processes, open-files" in refused.stderr
    moved = alpha.run([MIGRATE, "move", "counter", beta.address, "--skip-check", "cpu"])
    assert "counter runs on" in moved.stdout
    assert counts_on(beta)


def test_connections_on_the_hosts_own_address_are_found_in_every_process(
    counter: tuple[Host, Host],
) -> None:
    alpha, beta = counter
    alpha.run(
        [MIGRATE, "run", "-d", "--name", "caller", "--network", "host", "counter", "/bin/sh", "-c",
         f"sleep 100 | busybox nc {alpha.address} 22 & wait"]
    )  # fmt: skip
    try:
        assert eventually(lambda: "SSH-2.0" in alpha.run([MIGRATE, "logs", "caller"]).stdout)
        done = alpha.run([MIGRATE, "check", "caller", beta.address], check=False)
        assert done.returncode == ContainerUnfit.code
        assert "busybox (pid " in done.stdout
        assert "has a TCP connection on the host's own address" in done.stdout
        skipped = alpha.run(
            [MIGRATE, "check", "caller", beta.address, "--skip-check", "connections"], check=False
        )
        assert "0 obstacles" in skipped.stdout
    finally:
        alpha.run([MIGRATE, "rm", "-f", "caller"])
