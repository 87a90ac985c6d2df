"""What a host has used: counted for the whole host, by either version of control groups."""

from __future__ import annotations

import sys

import pytest

from migrate.bench import usage
from tests.hosts import Lan, cgroups

pytestmark = [pytest.mark.root, pytest.mark.hosts]
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
    host, all_of_them = lan.host("alpha"), cgroups.hierarchies()
    versions = {h.version for h in all_of_them if h.version == 2 or h.options == "cpuacct"}
    assert versions

    def used(version: int) -> float:
        chosen = [h for h in all_of_them if h.version == version]
        monkeypatch.setattr(cgroups, "hierarchies", lambda: chosen)
        return usage.cpu_seconds(host)

    before, sent = {v: used(v) for v in versions}, usage.sent_bytes(host)
    host.run([sys.executable, "-I", "-S", "-c", WORK])
    assert all(0.38 < used(version) - before[version] < 2 for version in versions)
    assert 100_000 < usage.sent_bytes(host) - sent < 200_000
