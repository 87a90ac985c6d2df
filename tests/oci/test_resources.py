"""config-linux.md, "Control groups": path, devices, each controller that this machine has; update.

The files are those of the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from migrate.kernel.mountinfo import parse_mountinfo
from migrate.oci import groups
from migrate.oci.statistics import statistics
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout, detect
from tests.engine import eventually
from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root

LAYOUT = detect()
MIB = 1 << 20
# Controller, resources, file of version 1 and what it then says.
V1: list[tuple[str, dict[str, Any], str, str]] = [
    ("memory", {"memory": {"limit": 64 * MIB}}, "memory.limit_in_bytes", str(64 * MIB)),
    ("memory", {"memory": {"limit": -1}}, "memory.limit_in_bytes", "9223372036854771712"),
    ("memory", {"memory": {"reservation": 32 * MIB}}, "memory.soft_limit_in_bytes", str(32 * MIB)),
    ("memory", {"memory": {"swappiness": 0}}, "memory.swappiness", "0"),
    ("memory", {"memory": {"swappiness": 70}}, "memory.swappiness", "70"),
    ("memory", {"memory": {"disableOOMKiller": True}}, "memory.oom_control", "oom_kill_disable 1"),
    ("memory", {"memory": {"kernelTCP": 8 * MIB}}, "memory.kmem.tcp.limit_in_bytes", str(8 * MIB)),
    ("memory", {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
     "memory.memsw.limit_in_bytes", str(96 * MIB)),
    ("cpu", {"cpu": {"shares": 512}}, "cpu.shares", "512"),
    ("cpu", {"cpu": {"quota": 20000, "period": 50000}}, "cpu.cfs_quota_us", "20000"),
    ("cpu", {"cpu": {"quota": 20000, "period": 50000}}, "cpu.cfs_period_us", "50000"),
    ("cpu", {"cpu": {"quota": -1}}, "cpu.cfs_quota_us", "-1"),
    ("cpu", {"cpu": {"quota": 20000, "burst": 10000}}, "cpu.cfs_burst_us", "10000"),
    ("cpu", {"cpu": {"idle": 1, "shares": 0}}, "cpu.idle", "1"),  # which takes its shares away
    ("cpuset", {"cpu": {"cpus": "0"}}, "cpuset.cpus", "0"),
    ("cpuset", {"cpu": {"mems": "0"}}, "cpuset.mems", "0"),
    ("pids", {"pids": {"limit": 77}}, "pids.max", "77"),
    ("pids", {"pids": {"limit": -1}}, "pids.max", "max"),
    ("blkio", {"blockIO": {"weight": 300}}, "blkio.weight", "300"),
    ("blkio", {"blockIO": {"throttleReadBpsDevice": "DISK"}},
     "blkio.throttle.read_bps_device", "DISK 600"),
    ("blkio", {"blockIO": {"throttleWriteBpsDevice": "DISK"}},
     "blkio.throttle.write_bps_device", "DISK 600"),
    ("blkio", {"blockIO": {"throttleReadIOPSDevice": "DISK"}},
     "blkio.throttle.read_iops_device", "DISK 600"),
    ("blkio", {"blockIO": {"throttleWriteIOPSDevice": "DISK"}},
     "blkio.throttle.write_iops_device", "DISK 600"),
]  # fmt: skip


@functools.cache
def _disk() -> tuple[int, int]:
    """The first whole disk of this machine, the same in all of a test."""
    for path in sorted(Path("/sys/block").iterdir()):
        major, minor = (path / "dev").read_text().split(":")
        return int(major), int(minor)
    pytest.skip("this machine has no block device")


def _with_disk(value: Any) -> Any:
    if value == "DISK":
        major, minor = _disk()
        return [{"major": major, "minor": minor, "rate": 600}]
    return {key: _with_disk(v) for key, v in value.items()} if isinstance(value, dict) else value


def _limited(oci: Runtime, resources: dict[str, Any]) -> Spec:
    spec = oci.spec("sleep", "1000")
    spec["linux"]["resources"] = resources
    return spec


def _read(root: Path, identifier: str, file: str) -> str:
    return (root / "migrate-oci" / identifier / file).read_text().strip()


@functools.cache
def _offered(controller: str, file: str) -> bool:
    """Whether a group has that file: the root of a hierarchy lacks some."""
    group = Path(tempfile.mkdtemp(prefix="migrate-oci-look-", dir=LAYOUT.v1[controller]))
    try:
        return (group / file).exists()
    finally:
        group.rmdir()


def _here() -> list[tuple[str, dict[str, Any], str, str]]:
    return [row for row in V1 if row[0] in LAYOUT.v1 and _offered(row[0], row[2])]


def _not_offered() -> list[tuple[str, dict[str, Any], str, str]]:
    return [row for row in V1 if row[0] in LAYOUT.v1 and not _offered(row[0], row[2])]


def _rounds() -> list[list[tuple[str, dict[str, Any], str, str]]]:
    """The rows in as few sets as can be, none with two values of one property."""
    rounds: list[list[tuple[str, dict[str, Any], str, str]]] = []
    for row in _here():
        keys = {key for part in row[1].values() for key in part}
        for entries in rounds:
            if not keys & {key for other in entries for p in other[1].values() for key in p}:
                entries.append(row)
                break
        else:
            rounds.append([row])
    return rounds


def _merged(rows: list[tuple[str, dict[str, Any], str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _controller, resources, _file, _told in rows:
        for part, values in _with_disk(resources).items():
            found.setdefault(part, {}).update(values)
    return found


def _wrong(identifier: str, rows: list[tuple[str, dict[str, Any], str, str]]) -> list[str]:
    wrong = []
    for controller, _resources, file, told in rows:
        lines = _read(LAYOUT.v1[controller], identifier, file).splitlines()
        if told.replace("DISK", "{}:{}".format(*_disk())) not in lines:
            wrong.append(f"{file}: {lines}, not {told}")
    return wrong


def test_each_limit_of_version_1(oci: Runtime):
    for rows in _rounds():
        assert _wrong(oci.create(_limited(oci, _merged(rows))), rows) == []


def test_each_limit_of_version_1_can_be_updated(oci: Runtime):
    identifier = oci.create(oci.spec("sleep", "1000"))
    for rows in _rounds():
        oci.ok("update", "-r", "-", identifier, input=json.dumps(_merged(rows)))
        assert _wrong(identifier, rows) == []


def test_each_limit_that_this_kernel_has_not_is_refused_by_name(oci: Runtime):
    for _controller, resources, _file, _told in _not_offered():
        assert "linux.resources." in oci.refused(_limited(oci, _with_disk(resources)))


def _has_huge_pages() -> bool:
    if LAYOUT.v2 is None or "hugetlb" not in LAYOUT.v2_controllers:
        return False
    return Path("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir()


@pytest.mark.skipif(not _has_huge_pages(), reason="no hugetlb controller of v2 with 2 MB pages")
def test_huge_page_limits_are_of_reservation_and_use(oci: Runtime):
    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    identifier = oci.create(_limited(oci, limits))
    assert LAYOUT.v2
    for file in ("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"):
        assert _read(LAYOUT.v2, identifier, file) == str(4 * MIB)
    bad = {"hugepageLimits": [{"pageSize": "3MB", "limit": 4 * MIB}]}
    assert "hugepageLimits" in oci.refused(_limited(oci, bad))


@pytest.mark.skipif(LAYOUT.v2 is None, reason="no cgroup v2 hierarchy")
def test_unified_is_written_as_it_is(oci: Runtime):
    assert "unified" in oci.refused(_limited(oci, {"unified": {"cgroup.procs": "1"}}))
    assert "unified" in oci.refused(_limited(oci, {"unified": {"../x": "1"}}))
    if _has_huge_pages():
        assert LAYOUT.v2
        identifier = oci.create(_limited(oci, {"unified": {"hugetlb.2MB.max": str(2 * MIB)}}))
        assert _read(LAYOUT.v2, identifier, "hugetlb.2MB.max") == str(2 * MIB)


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "rdma"),
        ({"network": {"classID": 1}}, "network"),
        ({"memory": {"limit": "much"}}, "resources"), ({"cpu": {"cpus": "x"}}, "cpu"),
        ({"devices": [{"allow": True, "type": "z"}]}, "devices"),
        ({"devices": [{"allow": True, "access": "q"}]}, "devices"),
    ],
)  # fmt: skip
def test_what_can_not_be_limited_is_an_error(oci: Runtime, resources: dict[str, Any], word: str):
    assert word in oci.refused(_limited(oci, resources))


def test_limits_hold_from_the_first_instruction_on(oci: Runtime):
    spec = _limited(oci, {"pids": {"limit": 1}})
    spec["process"]["args"] = ["sh", "-c", "(true) 2>&1; true"]
    done = oci.call("run", "-b", oci.bundle(spec), oci.identifier())
    assert "fork" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", ["/migrate-oci/abs{}", "migrate-oci/rel{}", "migrate-oci//x/../y{}"]
)
def test_cgroups_path_is_below_each_mount_point(oci: Runtime, path: str):
    spec = oci.spec("sleep", "1000")
    spec["linux"]["cgroupsPath"] = path.format(os.getpid())
    if ".." in path:
        assert "cgroupsPath" in oci.refused(spec)
        return
    identifier = oci.create(spec)
    pid = str(oci.state(identifier)["pid"])
    for root in LAYOUT.roots:
        group = root / path.format(os.getpid()).lstrip("/")
        assert pid in (group / "cgroup.procs").read_text().split()
    oci.ok("delete", "--force", identifier)
    for root in LAYOUT.roots:
        assert not (root / path.format(os.getpid()).lstrip("/")).exists()
        with contextlib.suppress(OSError):  # another test's container is in it
            (root / "migrate-oci").rmdir()


def _devices(oci: Runtime, identifier: str) -> list[str]:
    return _read(LAYOUT.v1["devices"], identifier, "devices.list").splitlines()


@pytest.mark.skipif("devices" not in LAYOUT.v1, reason="no v1 devices controller here")
def test_devices_are_applied_in_their_order(oci: Runtime):
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": True, "type": "c", "major": 10, "minor": 230, "access": "rwm"},
        {"allow": False, "type": "c", "major": 10, "minor": 230, "access": "w"},
    ]
    listed = _devices(oci, oci.create(_limited(oci, {"devices": rules})))
    assert {"c 10:229 rw", "b 8:* r", "c 10:230 rm"} <= set(listed)


@pytest.mark.skipif("devices" not in LAYOUT.v1, reason="no v1 devices controller here")
def test_devices_the_default_ones_stay_usable(oci: Runtime):
    spec = _limited(oci, {"devices": [{"allow": False, "access": "rwm"}]})
    text = "for d in null zero full random urandom tty; do stat -c %n /dev/$d; done;" \
           "mknod /dev/x b 7 0 && head -c 1 /dev/x 2>&1; true"  # fmt: skip
    spec["process"]["args"] = ["sh", "-c", text]
    told = oci.run(spec)
    assert "/dev/tty" in told
    assert "not permitted" in told
    listed = set(_devices(oci, oci.create(_limited(oci, {"devices": [{"allow": False}]}))))
    assert "a *:* rwm" not in listed
    assert {"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm"} <= listed


def test_update_is_kept_in_the_config_and_of_a_stopped_container_an_error(oci: Runtime):
    identifier = oci.running()
    oci.ok("update", "--pids-limit", "50", "--cpuset-cpus", "0", identifier)
    if "pids" in LAYOUT.v1:
        assert _read(LAYOUT.v1["pids"], identifier, "pids.max") == "50"
    assert "does not exist" in oci.fails("update", "--pids-limit", "50", "nobody")
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    assert "stopped" in oci.fails("update", "--pids-limit", "60", identifier)


BY_OPTION = [
    (["--memory", "64m"], "memory", "memory.limit_in_bytes", str(64 * MIB)),
    (["--memory-reservation", "32M"], "memory", "memory.soft_limit_in_bytes", str(32 * MIB)),
    (["--cpu-share", "300"], "cpu", "cpu.shares", "300"),
    (["--cpu-quota", "30000", "--cpu-period", "60000"], "cpu", "cpu.cfs_quota_us", "30000"),
    (["--cpu-quota", "30000", "--cpu-burst", "9000"], "cpu", "cpu.cfs_burst_us", "9000"),
    (["--cpu-idle", "1"], "cpu", "cpu.idle", "1"),
    (["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "0"),
    (["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0"),
    (["--pids-limit", "-1"], "pids", "pids.max", "max"),
]


def test_update_by_each_option(oci: Runtime):
    identifier = oci.create(oci.spec("sleep", "1000"))
    for words, controller, file, told in BY_OPTION:
        if controller in LAYOUT.v1 and _offered(controller, file):
            oci.ok("update", *words, identifier)
            assert _read(LAYOUT.v1[controller], identifier, file) == told


def test_the_group_is_mounted_with_its_own_view(oci: Runtime):
    """A cgroup namespace shows the container's group as the root."""
    spec = oci.spec()
    spec["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    )
    told = oci.shell("cut -d: -f3 /proc/self/cgroup | sort -u; cat /proc/self/mountinfo", spec)
    assert told.splitlines()[0] == "/"
    shown = [m for m in parse_mountinfo("\n".join(told.splitlines()[1:]))
             if m.mount_point.startswith("/sys/fs/cgroup")]  # fmt: skip
    assert all("ro" in m.options.split(",") for m in shown)
    assert {m.root for m in shown} == {"/"}


def test_statistics_of_version_2():
    """On this machine's v2 hierarchy alone, whatever controllers that has."""
    root = LAYOUT.v2
    assert root, "this needs a cgroup v2 hierarchy"
    offered = frozenset((root / "cgroup.controllers").read_text().split())
    group = ControlGroup(f"t{os.getpid()}-statistics", Layout({}, root, offered), "migrate-oci")
    try:
        groups.make(group, {})
        work = "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done"
        text = f"echo $$ > {group.directories[0]}/cgroup.procs; {work}"
        subprocess.run(["sh", "-c", text], check=True)
        told = statistics(group)
    finally:
        group.remove()
    usage = told["cpu"]["usage"]
    assert usage["total"] >= usage["user"] > 0
    assert set(told["cpu"]["throttling"]) == {"periods", "throttledPeriods", "throttledTime"}
    for name in ("usage", "swap", "kernel", "kernelTCP"):
        assert set(told["memory"][name]) == {"limit", "usage", "max", "failcnt"}
    assert set(told["blkio"]) == {"ioServiceBytesRecursive", "ioServicedRecursive"}
    assert all(entry["usage"] == 0 for entry in told["hugetlb"].values())
