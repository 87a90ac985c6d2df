"""Every kind of state, each in a C program of its own, moved there and back, and looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.bench.hosts import make_image
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.states.building import CAPABILITIES, KINDS, build, verdicts

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
NAME = "states"
TABLES = "from migrate.kernel.nftables import tables; print(tables(1))"  # NFPROTO_INET


@pytest.fixture
def running(
    lan: Lan, two_hosts: tuple[Host, Host], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Host]]:
    make_image(lan.shared / "bench.tar", list(two_hosts), MIGRATE)
    directory: Path = lan.shared / "states"
    build(directory)
    words = [word for name in CAPABILITIES for word in ("--cap-add", name)]
    two_hosts[0].run([
        MIGRATE, "run", "-d", "--name", NAME, "-v", "/usr:/usr:ro", "-v", f"{directory}:/states:ro",
        *words, "bench", "/states/runner", *KINDS,
    ])  # fmt: skip
    wait_for(two_hosts[0], "ready", 1)
    assert verdicts(log(two_hosts[0]), "ready") == dict.fromkeys(KINDS, "ready")
    yield two_hosts
    for host in two_hosts:
        host.run([MIGRATE, "rm", "-f", NAME], check=False)


def log(host: Host) -> list[str]:
    return host.run([MIGRATE, "logs", NAME]).stdout.splitlines()


def wait_for(host: Host, word: str, times: int) -> None:
    assert eventually(lambda: log(host).count(f"all {word}") >= times, 60), log(host)


def check(host: Host) -> None:
    before = log(host).count("all checked")
    host.run([MIGRATE, "kill", "--signal", "USR1", NAME])
    wait_for(host, "checked", before + 1)
    found = verdicts(log(host), "checked")
    assert {k: v for k, v in found.items() if v != "intact"} == {}, [
        line for line in log(host) if ".c:" in line
    ]
    assert len(found) == len(KINDS)


def tables_of(host: Host) -> str:
    """The nf_tables tables in the container's network namespace: nothing of the restore is left."""
    record = json.loads(host.run([MIGRATE, "inspect", NAME]).stdout)["record"]
    namespace = f"--net=/run/migrate/netns/{record['identifier']}"
    return host.run(["nsenter", namespace, sys.executable, "-c", TABLES]).stdout.strip()


@pytest.mark.timeout(300)
def test_all_is_kept_in_every_mode(running: tuple[Host, Host]) -> None:
    here, there = running
    check(here)
    for mode in ("stop-copy", "pre-copy", "post-copy", "hybrid"):
        here.run([MIGRATE, "move", NAME, there.ssh_target, "--mode", mode], timeout=100)
        here, there = there, here
        check(here)
        assert tables_of(here) == "[]"
