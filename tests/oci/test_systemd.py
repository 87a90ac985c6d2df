"""--systemd-cgroup with a real systemd: runc's docs/systemd.md, systemd's CGROUP_DELEGATION.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.oci import systemd, unitproperties
from migrate.oci.errors import BadConfig
from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.errors import SpecInvalid
from tests.engine import eventually
from tests.oci.runtime import Runtime
from tests.oci.systemdhost import SystemdHost, booted

BOTH = Layout({}, Path("/sys/fs/cgroup"), frozenset({"cpu", "memory", "pids", "io", "cpuset"}))
FIRST = Layout(
    {name: Path(name) for name in ("cpu", "memory", "pids", "blkio", "cpuset")}, None, frozenset()
)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("", ("system.slice", "migrate-oci-ID.scope")),
        ("user.slice:podman:abc", ("user.slice", "podman-abc.scope")),
        ("a-b-c.slice:p:n", ("a.slice/a-b.slice/a-b-c.slice", "p-n.scope")),
        (":p:n", ("system.slice", "p-n.scope")),
        ("-.slice::n", ("", "n.scope")),
    ],
)
def test_the_group_of_a_path(path: str, group: tuple[str, str]):
    assert systemd.group_of(path, "ID") == group


@pytest.mark.parametrize(
    "path", ["/a/b", "a:b", "x:p:n", "a/b.slice:p:n", "a--b.slice:p:n", "a.slice:p:", "a.slice:/:n"]
)
def test_a_path_that_is_of_another_form_is_refused(path: str):
    with pytest.raises(BadConfig):
        systemd.group_of(path, "ID")


RESOURCES = {
    "memory": {"limit": 1 << 26, "swap": 3 << 25, "reservation": 1 << 25},
    "cpu": {"shares": 1024, "quota": 33000, "period": 50000, "cpus": "0-1,9", "mems": "0"},
    "pids": {"limit": -1}, "blockIO": {"weight": 500},
}  # fmt: skip


def test_limits_are_properties_of_either_version():
    assert dict(unitproperties.of_resources(RESOURCES, BOTH)) == {
        "MemoryMax": ("t", 1 << 26), "MemorySwapMax": ("t", 1 << 25), "MemoryLow": ("t", 1 << 25),
        "CPUWeight": ("t", 39), "CPUQuotaPerSecUSec": ("t", 660000),
        "CPUQuotaPeriodUSec": ("t", 50000), "AllowedCPUs": ("ay", b"\x03\x02"),
        "AllowedMemoryNodes": ("ay", b"\x01"), "TasksMax": ("t", (1 << 64) - 1),
        "IOWeight": ("t", 4950),
    }  # fmt: skip
    first = dict(unitproperties.of_resources(RESOURCES, FIRST))
    assert first["MemoryLimit"] == ("t", 1 << 26)
    assert first["CPUShares"] == ("t", 1024)
    assert first["BlockIOWeight"] == ("t", 500)
    assert not {"MemoryMax", "CPUWeight", "AllowedCPUs", "IOWeight"} & set(first)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopUSec", "uint64 5000000", ("TimeoutStopUSec", ("t", 5000000))),
        ("TimeoutStopSec", "uint64 5", ("TimeoutStopUSec", ("t", 5000000))),
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", ("s", "inactive-or-failed"))),
        ("DefaultDependencies", "true", ("DefaultDependencies", ("b", True))),
        ("After", "['a.service', 'b.service']", ("After", ("as", ["a.service", "b.service"]))),
    ],
)
def test_annotations_are_properties(name: str, text: str, expected: Any):
    found = unitproperties.of_annotations({"other": "x", f"org.systemd.property.{name}": text})
    assert found == [expected]


@pytest.mark.parametrize(
    ("name", "text"), [("After", "a.service"), ("x", "true"), ("After", "__import__('os')")]
)
def test_annotations_that_are_no_values_are_refused(name: str, text: str):
    with pytest.raises(SpecInvalid):
        unitproperties.of_annotations({f"org.systemd.property.{name}": text})


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with booted() as made:
        yield made


@pytest.fixture
def oci(host: SystemdHost, tmp_path: Path) -> Runtime:
    """For its specifications and bundles, where the host sees them."""
    (host.shared / tmp_path.name).mkdir()
    return Runtime(host.shared / tmp_path.name, host.shared / "busybox")


@pytest.mark.root
def test_a_container_is_a_scope_of_its_slice(host: SystemdHost, oci: Runtime):
    spec = oci.spec("sleep", "1000")
    spec["linux"]["cgroupsPath"] = "migrate-test.slice:engine:one"
    spec["linux"]["resources"] = {
        "memory": {"limit": 64 << 20}, "pids": {"limit": 20}, "cpu": {"shares": 512},
    }  # fmt: skip
    spec["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}
    unit = "engine-one.scope"
    host.running("one", oci.bundle(spec))
    assert host.property(unit, "ActiveState") == "active"
    assert host.property(unit, "Slice") == "migrate-test.slice"
    assert host.property(unit, "Delegate") == "yes"
    assert host.property(unit, "TasksMax") == "20"
    assert host.property(unit, "TimeoutStopUSec") == "7s"
    assert host.property(unit, "Description") == "migrate-oci container one"
    path = "/migrate.slice/migrate-test.slice/engine-one.scope"
    assert host.property(unit, "ControlGroup") == path
    groups = host.groups(host.pid_of("one"))
    assert {found for name, found in groups.items() if name != "hugetlb"} == {path}

    said = host.oci("exec", "one", "cat", "/proc/self/cgroup")
    assert all(line.endswith((":/", path)) for line in said.splitlines()), said
    stats = json.loads(host.oci("events", "--stats", "one"))["data"]
    assert stats["memory"]["usage"]["limit"] == 64 << 20
    assert stats["pids"]["limit"] == 20

    host.oci("update", "--pids-limit", "33", "--memory", "96m", "one")
    assert host.property(unit, "TasksMax") == "33"
    host.ok("systemctl", "daemon-reload")  # it writes the unit's limits again
    stats = json.loads(host.oci("events", "--stats", "one"))["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (96 << 20, 33)

    host.oci("pause", "one")
    host.oci("resume", "one")
    host.oci("delete", "--force", "one")
    assert host.property(unit, "LoadState") == "not-found"
    assert host.call("sh", "-c", "ls -d /sys/fs/cgroup/*/migrate.slice/*/*.scope").stdout == ""


@pytest.mark.root
def test_a_scope_ends_with_its_program_and_its_name_is_free(host: SystemdHost, oci: Runtime):
    bundle = oci.bundle(oci.spec("true"))
    for _turn in range(2):
        host.oci("run", "-b", bundle, "short")
    assert host.property("migrate-oci-short.scope", "LoadState") == "not-found"


@pytest.mark.root
def test_systemd_may_stop_it(host: SystemdHost, oci: Runtime):
    host.running("stopped", oci.bundle(oci.spec("sleep", "1000")))
    host.ok("systemctl", "kill", "-s", "KILL", "migrate-oci-stopped.scope")
    assert eventually(lambda: json.loads(host.oci("state", "stopped"))["status"] == "stopped")
    host.oci("delete", "stopped")


@pytest.mark.root
def test_a_create_that_fails_leaves_no_unit(host: SystemdHost, oci: Runtime):
    bundle = oci.bundle(oci.spec("/not/there"))
    assert "no such file" in host.refused("create", "-b", bundle, "failing")
    assert host.property("migrate-oci-failing.scope", "LoadState") == "not-found"
    spec = oci.spec("true")
    spec["annotations"] = {"org.systemd.property.Nonsense": "true"}
    assert "StartTransientUnit" in host.refused("create", "-b", oci.bundle(spec), "failing")
    spec = oci.spec("true")
    spec["linux"]["cgroupsPath"] = "/a/b"
    assert 'format "slice:prefix:name"' in host.refused("create", "-b", oci.bundle(spec), "failing")
    assert "failing" not in host.oci("list", "-q").split()
