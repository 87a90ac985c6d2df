"""Which mounts are taken for the host's control groups."""

from __future__ import annotations

from migrate.runtime.cgroups.tree import of_mounts

USUAL = [
    ("/sys/fs/cgroup/cpu", "cgroup", "rw,cpu,cpuacct"),
    ("/sys/fs/cgroup/pids", "cgroup", "rw,pids"),
    ("/sys/fs/cgroup/unified", "cgroup2", "rw"),
]  # fmt: skip
OF_CRIU = [
    ("/tmp/work/.criu.cgyard.x/cpu", "cgroup", "rw,cpu,cpuacct"),
    ("/tmp/work/.criu.cgyard.x/unified", "cgroup2", "rw"),
]


def test_those_of_a_criu_at_work_are_not() -> None:
    expected = (
        {"cpu": USUAL[0][0], "cpuacct": USUAL[0][0], "pids": USUAL[1][0]}, USUAL[2][0],
    )  # fmt: skip
    assert of_mounts(USUAL + OF_CRIU) == expected
    assert of_mounts(OF_CRIU + USUAL) == expected


def test_elsewhere_the_last_counts() -> None:
    moved = [("/cgroups/pids", "cgroup", "rw,pids"), ("/other/pids", "cgroup", "rw,pids")]
    assert of_mounts(moved) == ({"pids": "/other/pids"}, "")
