"""What people run moves under load in every network: their own clients notice nothing but time."""

from __future__ import annotations

import pytest

from tests.hosts import Lan
from tests.move.networks import realprograms, site
from tests.move.networks.realprograms import NAME, RealPrograms
from tests.move.networks.site import Joined, Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]


@pytest.fixture(scope="module")
def image(lan: Lan, hosts: Trio) -> None:
    """On the first host."""
    realprograms.make_image(lan.shared, hosts[0])


@pytest.mark.timeout(180 + 30 * site.TURNS)
@pytest.mark.usefixtures("image")
def test_no_connection_ends_and_no_byte_is_lost(lan: Lan, hosts: Trio, joined: Joined) -> None:
    ends = hosts[:2]
    with RealPrograms(hosts[0], joined, lan.shared) as running:
        assert running.look() == []
        for turn in range(site.TURNS):
            site.move(ends[turn % 2], ends[(turn + 1) % 2], NAME)
            assert running.look() == [], turn
        assert running.finish() == []
