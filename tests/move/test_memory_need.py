"""How much memory a move needs on both hosts, by their control groups' own account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import eventually
from tests.hosts import Host, Lan, cgroups
from tests.hosts.leftovers import PREFIX
from tests.hosts.redis import MIGRATE
from tests.move.test_move import move
from tests.move.test_precopy import clean, goes_on, output, pair, start

__all__ = ["clean", "pair"]
pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts, pytest.mark.alone]
MIB = 1 << 20
SIZE = 320 * MIB
PROGRAMS = 100 * MIB
"""What agents, receivers, page server and CRIU take for themselves, whatever moves."""


class Account:
    """A host's memory: process memory, tmpfs and page cache."""

    def __init__(self, lan: Lan, host: Host) -> None:
        (hierarchy,) = (h for h in cgroups.hierarchies() if "memory" in h.options)
        self._group = cgroups.path_in(hierarchy, f"{PREFIX}{lan.id}/{host.name}")
        (self._group / "memory.force_empty").write_text("0")
        self._before = self._read("memory.usage_in_bytes")
        (self._group / "memory.max_usage_in_bytes").write_text("0")

    def _read(self, name: str) -> int:
        return int((self._group / name).read_text())

    @property
    def most(self) -> int:
        """Bytes above what there was at the beginning."""
        return self._read("memory.max_usage_in_bytes") - self._before


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory/memory.force_empty").exists(),
    reason="the memory controller is not on cgroup v1, whose accounts are read here",
)
@pytest.mark.parametrize("mode", ["pre-copy", "post-copy", "hybrid"])
def test_neither_host_needs_memory_twice(lan: Lan, clean: tuple[Host, Host], mode: str) -> None:
    source, target = clean
    start(source, "stress", "holder.py", str(SIZE // MIB))
    goes_on(source, "stress")
    there, here = Account(lan, target), Account(lan, source)
    move(source, target, "stress", "--mode", mode)
    filling = ["sh", "-c", "ls /run/migrate/containers/*/filling"]
    assert eventually(lambda: not target.run(filling, check=False).stdout, 60)
    goes_on(target, "stress")
    assert [line for line in output(target, "stress") if "WRONG" in line] == []
    assert SIZE < there.most < 1.1 * SIZE + PROGRAMS
    assert here.most < PROGRAMS
    target.run([MIGRATE, "rm", "-f", "stress"])
