"""Moves between two machines whose kernels differ: Debian 13's and the next one's."""

from __future__ import annotations

import pytest

from tests.vm import containers
from tests.vm.cache import SUITE
from tests.vm.containers import goes_on, move, wrong
from tests.vm.image import NEWER
from tests.vm.pair import Pair

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.criu, pytest.mark.timeout(400)]


def test_to_a_newer_kernel_and_back() -> None:
    with Pair((SUITE, NEWER)) as machines:
        releases = {machine.run(["uname", "-r"]).stdout for machine in machines}
        assert len(releases) == 2
        for machine in machines:
            containers.make_image(machine)
        containers.start(machines[0], "stress", [], ["/usr/bin/python3", "/bench/stress.py", "2"])
        for turn, mode in enumerate(("stop-copy", "stop-copy", "pre-copy", "pre-copy")):
            source, target = machines[turn % 2], machines[(turn + 1) % 2]
            move(source, target, "stress", "--mode", mode)
            goes_on(target, "stress")
            assert wrong(target, "stress") == []
