"""`migrate fleet`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.store.opening import open_store
from migrate.runtime.paths import Paths
from tests.ports import refusing_ports


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """State directories of the test's own."""
    return Paths(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def store(paths: Paths) -> FleetStore:
    """The store that the command shows."""
    return open_store(None, paths)


def _fleet(paths: Paths, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "MIGRATE_STORE"}
    own = {"MIGRATE_STATE": str(paths.state), "MIGRATE_RUN": str(paths.run)}
    return subprocess.run(
        [Path(sys.executable).with_name("migrate"), "fleet", *arguments], check=False,
        env=kept | own | more, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_an_empty_store_is_said_so(paths: Paths):
    done = _fleet(paths)
    assert (done.returncode, done.stdout) == (0, "")
    assert "has no claims" in done.stderr
    assert not paths.state.exists()


def test_claims_reservations_and_hosts_are_shown(paths: Paths, store: FleetStore):
    source, target = "a" * 32, "b" * 32
    store.put_host(source, "alpha", "root@10.0.0.3", cordoned=True, why="new kernel")
    with (
        store.claim("host", source, "empties alpha"),
        store.claim("container", "0123456789ab", "moves web to beta", generation=1) as lease,
    ):
        store.reserve(lease, target, (5 << 20) + 1, 1 << 30)
        store.moved("0123456789ab", source, target, 2)
        lines = _fleet(paths).stdout.splitlines()
        told = json.loads(_fleet(paths, "--json").stdout)
    assert [line.split()[:2] for line in lines if line] == [
        ["HOST", "ADDRESS"], ["alpha", "root@10.0.0.3"],
        ["CLAIMED", "NAME"], ["container", "0123456789ab"], ["host", "alpha"],
        ["TARGET", "RESERVED"], ["bbbbbbbbbbbb", "6"],
    ]  # fmt: skip
    assert "new kernel" in lines[1]
    assert all(store.owner in line for line in lines if line and "BY" not in line)
    assert lines[5].endswith("empties alpha")
    assert set(told) == {"store", "claims", "reservations", "generations", "hosts"}
    assert [claim["name"] for claim in told["claims"]] == ["0123456789ab", source]
    assert told["reservations"][0]["memory"] == (5 << 20) + 1
    assert told["generations"][0]["number"] == 2
    assert told["hosts"][0]["cordoned"] is True


def test_a_store_from_the_environment_and_its_errors(paths: Paths):
    with refusing_ports(1) as (port,):
        url = f"etcd://mover:hidden@127.0.0.1:{port}"
        for done in (_fleet(paths, "--json", MIGRATE_STORE=url), _fleet(paths, "--store", url)):
            assert done.returncode == 103
            assert f"etcd at 127.0.0.1:{port} can't be reached" in done.stderr
            assert "hidden" not in done.stdout + done.stderr
    assert _fleet(paths, "--store", "redis://a").returncode == 5


def test_help_has_an_example(paths: Paths):
    done = _fleet(paths, "--help", MIGRATE_STORE="etcd://mover:hidden@10.0.0.5")
    assert "Example: migrate fleet" in done.stdout
    assert "hidden" not in done.stdout
