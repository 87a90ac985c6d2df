"""Both stores under one name: `url` is what `--store` would be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.evacuate.store.fleet import FleetStore
from tests.evacuate.store.claimer import opened
from tests.evacuate.store.etcdserver import EtcdServer


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One etcd for all tests that do not stop it; tests use names of their own."""
    # It is never killed and read again, so it need not wait for a disk that others keep busy.
    server = EtcdServer(tmp_path_factory.mktemp("etcd") / "shared", "--unsafe-no-fsync")
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


@pytest.fixture(params=["files", "etcd"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's URL."""
    if request.param == "files":
        return f"file://{tmp_path}/fleet"
    found: str = request.getfixturevalue("etcd_url")
    return found


@pytest.fixture
def store(url: str) -> FleetStore:
    """The store, opened."""
    return opened(url)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd of a test's own, that it may stop."""
    made = EtcdServer(tmp_path / "etcd")
    try:
        made.start()
        yield made
    finally:
        made.stop()
