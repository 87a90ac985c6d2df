"""Three hosts for the networks that are over several hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrate.bench.hosts import make_image
from tests.hosts import Lan
from tests.hosts.redis import MIGRATE
from tests.move.networks import site
from tests.move.networks.site import DRIVERS, Joined, Trio


@pytest.fixture(scope="module")
def hosts(lan: Lan) -> Trio:
    """With IPv6 addresses, from which a host itself can talk."""
    made = lan.host("alpha"), lan.host("beta"), lan.host("gamma")
    make_image(lan.shared / "bench.tar", list(made), MIGRATE)
    for number, host in enumerate(made, 2):
        address = f"fd77::{number}/64"
        host.run(["ip", "addr", "add", address, "dev", "br-lan", "nodad"])
    return made


@pytest.fixture(params=DRIVERS)
def joined(request: pytest.FixtureRequest, hosts: Trio) -> Iterator[Joined]:
    """A network of each driver in turn."""
    with site.joined(hosts, request.param) as made:
        yield made
