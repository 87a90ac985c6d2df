"""A host with a limit on all that it runs: that is what it has to give."""

from __future__ import annotations

import pytest

from tests.evacuate.scarce import free_memory
from tests.hosts import Lan

MIB = 1 << 20


@pytest.mark.root
@pytest.mark.hosts
def test_a_limit_on_the_host_is_what_it_has_to_give(lan: Lan) -> None:
    """Its own cgroup tree's root is limited, as that of a host that is a container itself."""
    host = lan.host("alpha")
    before = free_memory(host)
    host.limit_memory(host.memory_used() + 200 * MIB)
    limited = free_memory(host)
    host.limit_memory(None)
    # What has been used lately for files, and what asks, are not known to the byte.
    assert 100 * MIB < limited < 300 * MIB
    assert before > 400 * MIB
    assert free_memory(host) > 400 * MIB
