"""The cost of tracking, on small loads: that it is measured while rounds really go on."""

from __future__ import annotations

import json

import pytest

from migrate.bench import tracked
from migrate.bench.loads.redis import Redis
from migrate.cli.benchtracked import HEAD, cells

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts, pytest.mark.alone]


def test_loads_are_compared_with_themselves() -> None:
    outcome = tracked.run(24, 1, print, seconds=0.6)
    one_key, all_keys, pages, tick = outcome.pairs
    assert (one_key.load, all_keys.load) == (Redis(24), Redis(24, Redis(24).keys))
    assert [pair.unit for pair in (pages, tick)] == ["pages/s", "ms, longest tick"]
    # The tracker has seen what the clients wrote: over all keys much more than over one.
    assert 0 < one_key.round_bytes < all_keys.round_bytes
    assert pages.round_bytes > 8 << 20
    for pair in outcome.pairs:
        assert len(pair.untracked.runs) == len(pair.tracked.runs) == 1
        assert pair.ratio.median > 0
        assert len(cells(pair)) == len(HEAD)
    assert 1_000 < pages.untracked.median < 11_000
    assert json.loads(json.dumps(outcome.as_json()))["benchmark"] == "tracked"
