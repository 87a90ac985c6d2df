"""Fixtures that several test packages share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.engine import Engine, eventually
from tests.forked import start_short
from tests.hosts import Host, Lan, leftovers, snapshot
from tests.rootfs import busybox_rootfs

# How fast a machine makes examples is no property of what is tested.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every command that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """A network for hosts; when the module is done, nothing of it may be left on the machine."""
    before = snapshot()
    with Lan(start=start_short) as made:
        yield made
    assert leftovers(before, made.seen_namespaces) == []


@pytest.fixture(scope="module")
def two_hosts(lan: Lan) -> tuple[Host, Host]:
    """Two hosts, alpha and beta, that the tests of a module share."""
    return lan.host("alpha"), lan.host("beta")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system that all tests share; containers write into uppers of their own."""
    return busybox_rootfs(tmp_path_factory.mktemp("busybox") / "root")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Engine]:
    """The command on directories of its own; afterwards nothing of a container may be left."""
    made = Engine(tmp_path_factory.mktemp("engine"), busybox)
    yield made
    made.clear()
    assert eventually(lambda: made.leftovers() == []), made.leftovers()
