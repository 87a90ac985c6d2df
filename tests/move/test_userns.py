"""Containers with a user namespace move; a target that can not have their ids says so before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from migrate.move.errors import ContainerUnfit
from migrate.runtime.errors import IdsUnfit
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import (
    COUNTER,
    containers,
    counts_on,
    is_gapless,
    make_counter_image,
    start_counter,
)

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
VOLUME = f"echo x > /data/mine; chown 7:8 /data/mine; {COUNTER}"


@pytest.fixture(scope="module", autouse=True)
def image(lan: Lan, two_hosts: tuple[Host, Host]) -> None:
    make_counter_image(lan.shared, *two_hosts)


@pytest.fixture(autouse=True)
def clean(two_hosts: tuple[Host, Host]) -> Iterator[None]:
    yield
    for host in two_hosts:
        host.run([MIGRATE, "rm", "-f", "counter", "other"], check=False)
        host.run(["rm", "-rf", "/var/lib/migrate/volumes/data"], check=False)


def _record(host: Host, name: str) -> Any:
    return json.loads(host.run([MIGRATE, "inspect", name]).stdout)["record"]


def _look(host: Host) -> list[str]:
    script = "busybox stat -c %u:%g /count /data/mine; cat /proc/self/uid_map /proc/self/gid_map"
    return host.run([MIGRATE, "exec", "counter", "/bin/sh", "-c", script]).stdout.split()


@pytest.mark.parametrize("mode", ["stop-copy", "cold"])
def test_it_moves_with_its_ids_and_back(two_hosts: tuple[Host, Host], mode: str):
    alpha, beta = two_hosts
    alpha.run([MIGRATE, "run", "-d", "--name", "counter", "--userns", "auto", "-v", "data:/data",
               "--network", "bridge", "--ip", "10.77.0.140/24", "-m", "200m",
               "--stop-signal", "KILL", "counter",
               "/bin/sh", "-c", VOLUME])  # fmt: skip
    assert counts_on(alpha)
    before = _look(alpha)
    assert before[:2] == ["0:0", "7:8"]
    way = [(alpha, beta), (beta, alpha)]
    for source, target in way[: 1 if mode == "cold" else 2]:
        source.run([MIGRATE, "move", "--mode", mode, "counter", target.ssh_target])
        assert containers(source) == {}
        assert counts_on(target)
        assert mode == "cold" or is_gapless(target)
        assert _look(target) == before


def test_a_network_by_name(two_hosts: tuple[Host, Host]):
    """Its root may use low ports, and its /etc/hosts is written from outside, as its own."""
    alpha, _beta = two_hosts
    alpha.run([MIGRATE, "network", "create", "mapped"])
    start_counter(alpha, "counter", "--userns", "auto", "--network", "mapped", "-p", "8080:80")
    script = "busybox stat -c %u:%g /etc/hosts; cat /etc/hosts; nc -l -p 80 -w 1 </dev/null 2>&1"
    told = alpha.run([MIGRATE, "exec", "counter", "/bin/sh", "-c", script], check=False).stdout
    address = _record(alpha, "counter")["network"]["address"].partition("/")[0]
    assert told.startswith("0:0\n")
    assert f"{address}\tcounter" in told
    assert "denied" not in told
    alpha.run([MIGRATE, "rm", "-f", "counter"])
    alpha.run([MIGRATE, "network", "rm", "mapped"])


def test_what_is_checked_and_that_memory_can_not_follow(two_hosts: tuple[Host, Host]):
    alpha, beta = two_hosts
    start_counter(alpha, "counter", "--uidmap", "0:300000:65536")
    told = alpha.run([MIGRATE, "check", "--json", "counter", beta.ssh_target]).stdout
    checks = {row["check"]: row["state"] for row in json.loads(told)["checks"]}
    assert checks["user-namespace"] == "passed"
    told = alpha.run([MIGRATE, "move", "--dry-run", "--json", "counter", beta.ssh_target]).stdout
    assert '"mode": "stop-copy"' in told
    move = [MIGRATE, "move", "--mode", "post-copy", "counter", beta.ssh_target]
    done = alpha.run(move, check=False)
    assert done.returncode == ContainerUnfit.code, done.stderr
    assert "user namespace" in done.stderr
    assert counts_on(alpha)


def test_taken_ids_are_an_obstacle(two_hosts: tuple[Host, Host]):
    alpha, beta = two_hosts
    start_counter(alpha, "counter", "--userns", "auto")
    first = _record(alpha, "counter")["user_namespace"]["uids"][0]["outside"]
    start_counter(beta, "other", "--uidmap", f"0:{first}:65536")
    done = alpha.run([MIGRATE, "move", "counter", beta.ssh_target], check=False)
    assert done.returncode == IdsUnfit.code, done.stderr
    assert "'other'" in done.stderr
    assert counts_on(alpha)
    assert containers(beta) == {"other": "running"}
