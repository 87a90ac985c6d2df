"""Full log files go along on a move, whether they were full before it or in its rounds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import (
    counts_on,
    is_gapless,
    last_count,
    make_counter_image,
    start_counter,
)

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]


@pytest.fixture(autouse=True)
def clean(two_hosts: tuple[Host, Host]) -> Iterator[None]:
    yield
    for host in two_hosts:
        host.run([MIGRATE, "rm", "-f", "counter"], check=False)


def _files(host: Host) -> list[str]:
    return sorted(path.name for path in host.disk.glob("containers/*/log*"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["pre-copy", "stop-copy", "cold"])
def test_all_lines_are_there_after_a_move(
    lan: Lan, two_hosts: tuple[Host, Host], mode: str
) -> None:
    alpha, beta = two_hosts
    make_counter_image(lan.shared, alpha)
    options = ("-e", "PAUSE=0.002", "--log-max-size", "4k", "--log-max-files", "500",
               "--stop-signal", "KILL")  # fmt: skip
    start_counter(alpha, "counter", *options)
    assert eventually(lambda: "log.3" in _files(alpha), 80)
    before = last_count(alpha)
    alpha.run([MIGRATE, "move", "--mode", mode, "counter", beta.ssh_target])
    assert counts_on(beta)
    wanted = {"log", "log.1", "log.2", "log.3"}
    assert eventually(lambda: wanted <= set(_files(beta)))  # it is renaming them all the time
    if mode == "cold":  # it begins anew
        lines = beta.run([MIGRATE, "logs", "counter"]).stdout.split()
        numbers = [int(line) for line in lines]
        again = numbers.index(1, 1)
        assert numbers[:again] == list(range(1, again + 1))
        assert again >= before
    else:
        assert is_gapless(beta)
