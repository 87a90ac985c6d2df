"""A program that does as it is told, and a tracker of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrate.checkpoint.tracking import wp_async
from migrate.checkpoint.tracking.tracker import Tracker
from tests.checkpoint.tracking.store import Steps, Store


@pytest.fixture
def steps() -> Iterator[Steps]:
    made = Steps()
    yield made
    made.end()


@pytest.fixture
def tracker(steps: Steps) -> Iterator[Tracker]:
    made = wp_async.track(steps.pids, steps.pid, steps.hold)
    yield made
    made.close()


@pytest.fixture
def store() -> Store:
    return Store()
