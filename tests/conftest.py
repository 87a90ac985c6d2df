"""Fixtures that several test packages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import Host, Lan, leftovers, snapshot


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """A network for hosts; when the module is done, nothing of it may be left on the machine."""
    before = snapshot()
    with Lan() as made:
        yield made
    assert leftovers(before, made.seen_namespaces) == []


@pytest.fixture(scope="module")
def two_hosts(lan: Lan) -> tuple[Host, Host]:
    """Two hosts, alpha and beta, that the tests of a module share."""
    return lan.host("alpha"), lan.host("beta")
