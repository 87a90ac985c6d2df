"""What a host has used: counted for the whole host."""

from __future__ import annotations

import sys

import pytest

from migrate.bench import usage
from migrate.bench.errors import BenchImpossible
from tests.hosts import Lan, cgroups

pytestmark = [pytest.mark.root, pytest.mark.hosts, pytest.mark.alone]
WORK = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for _ in range(100):
        channel.sendto(bytes(1000), ("10.77.0.255", 9))
while time.process_time() < 0.4:
    pass
"""


def test_what_a_host_has_used(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    host = lan.host("alpha")
    cpu, sent = usage.cpu_seconds(host), usage.sent_bytes(host)
    host.run([sys.executable, "-I", "-S", "-c", WORK])
    assert 0.38 < usage.cpu_seconds(host) - cpu < 2
    assert 100_000 < usage.sent_bytes(host) - sent < 200_000
    monkeypatch.setattr(cgroups, "hierarchies", list)
    with pytest.raises(BenchImpossible):
        usage.cpu_seconds(host)
