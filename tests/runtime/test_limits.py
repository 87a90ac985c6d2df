"""Memory, pids and cpu limits are enforced by the kernel."""

from __future__ import annotations

import pytest

from migrate.runtime.cgroups.group import ControlGroup
from tests.engine import Engine

pytestmark = pytest.mark.root


def test_who_eats_too_much_memory_is_killed(engine: Engine):
    done = engine.once("-m", "32m", "sh", "-c", "head -c 200m /dev/zero | tail -c 150m >/dev/null")
    assert done.returncode == 137, done.stderr
    assert engine.once("-m", "64m", "sh", "-c", "head -c 20m /dev/zero | wc -c").returncode == 0


def test_pids_are_limited(engine: Engine):
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all"
    done = engine.once("--pids-limit", "5", "sh", "-c", script)
    assert "all" not in done.stdout
    assert "can't fork" in done.stderr
    assert engine.once("--pids-limit", "20", "sh", "-c", script).stdout == "all\n"


def test_the_cpu_quota_is_set(engine: Engine):
    identifier = engine.detached("--cpus", "0.25", "sleep", "100")
    group = ControlGroup.of(identifier)
    if "cpu" in group.layout.v1:
        directory = group.layout.v1["cpu"] / "migrate" / identifier
        quota = (directory / "cpu.cfs_quota_us").read_text().strip()
        period = (directory / "cpu.cfs_period_us").read_text().strip()
    else:
        assert group.layout.v2
        quota, period = (group.layout.v2 / "migrate" / identifier / "cpu.max").read_text().split()
    assert int(quota) / int(period) == 0.25
    engine.ok("rm", "-f", identifier)
