"""The pair of machines that all tests here share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.containers import make_image, traces
from tests.vm.machine import MIGRATE, Machine
from tests.vm.pair import Pair


@pytest.fixture(scope="session")
def machines() -> Iterator[tuple[Machine, Machine]]:
    """alpha and beta, both with Debian 13's kernel."""
    with Pair() as pair:
        for machine in pair:
            make_image(machine)
        yield pair


@pytest.fixture
def clean(machines: tuple[Machine, Machine]) -> Iterator[tuple[Machine, Machine]]:
    """Both machines; afterwards nothing of a container or a move is on either."""
    yield machines
    for machine in machines:
        machine.run([MIGRATE, "recover"], check=False)
        machine.run(["sh", "-c", f"{MIGRATE} ps -aq | xargs -r {MIGRATE} rm -f"])
        assert traces(machine) == []
