"""config-linux.md: namespaces, devices, control groups, sysctl, seccomp, masked paths."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.oci import groups
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout, detect
from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root


def _with(spec: Spec, **linux: Any) -> Spec:
    spec["linux"] |= linux
    return spec


def test_default_filesystems_and_devices(oci: Runtime):
    told = oci.shell(
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done;"
        "readlink /dev/ptmx; readlink /dev/fd; ls -d /proc/self /sys/kernel /dev/pts /dev/shm"
    )
    assert "/dev/null 1:3 666" in told
    assert "/dev/tty 5:0 666" in told
    assert "pts/ptmx\n/proc/self/fd" in told


def test_namespaces_new_ones(oci: Runtime):
    told = oci.shell("for n in pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done")
    for line in told.splitlines():
        kind = line.split(":")[0]
        assert line != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_namespaces_that_are_not_listed_are_the_runtimes(oci: Runtime):
    spec = oci.spec()
    spec["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    told = oci.shell("for n in net uts ipc cgroup; do readlink /proc/self/ns/$n; done", spec)
    kinds = ("net", "uts", "ipc", "cgroup")
    assert told.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]


def test_namespaces_joined_by_path(oci: Runtime):
    first = oci.running()
    pid = oci.state(first)["pid"]
    files = {"pid": "pid", "network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}
    spec = oci.spec()
    spec["linux"]["namespaces"] = [{"type": "mount"}] + [
        {"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in files.items()
    ]
    told = oci.shell("for n in pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done", spec)
    assert told.split() == [os.readlink(f"/proc/{pid}/ns/{name}") for name in files.values()]


def test_namespaces_path_of_another_type_is_an_error(oci: Runtime):
    spec = oci.spec("true")
    spec["linux"]["namespaces"] = [
        {"type": "mount"},
        {"type": "network", "path": f"/proc/{os.getpid()}/ns/uts"},
    ]
    assert "network namespace" in oci.refused(spec)


@pytest.mark.parametrize(
    "entries", [[{"type": "mount"}, {"type": "mount"}], [{"type": "mount"}, {"type": "moon"}], []]
)
def test_namespaces_twice_unknown_or_without_mount_are_refused(
    oci: Runtime, entries: list[dict[str, str]]
):
    assert "namespace" in oci.refused(_with(oci.spec("true"), namespaces=entries))


@pytest.fixture
def mapped(oci: Runtime) -> Iterator[Spec]:
    """A specification with a user namespace, on a root file system that its root may search."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    spec = _with(oci.spec("sleep", "1000"), uidMappings=mapping, gidMappings=mapping)
    spec["linux"]["namespaces"].append({"type": "user"})
    with tempfile.TemporaryDirectory(prefix="oci-user.", dir="/tmp") as place:
        os.chmod(place, 0o711)
        shutil.copytree(oci.rootfs, f"{place}/root", symlinks=True)
        spec["root"]["path"] = f"{place}/root"
        yield spec
        oci.clear()


def test_user_namespace_mappings(oci: Runtime, mapped: Spec):
    text = "id -u; cat /proc/self/uid_map; echo x > /dev/null && echo fine"
    root, mapping, device = oci.shell(text, mapped).splitlines()
    assert (root, mapping.split(), device) == ("0", ["0", "100000", "65536"], "fine")


def test_user_namespace_exec_joins_it(oci: Runtime, mapped: Spec):
    identifier = oci.running(mapped)
    told = oci.ok("exec", identifier, "cat", "/proc/self/uid_map")
    assert told.split() == ["0", "100000", "65536"]
    assert os.stat(f"/proc/{oci.state(identifier)['pid']}").st_uid == 100000


def test_offset_for_time_namespace(oci: Runtime):
    spec = _with(oci.spec(), timeOffsets={"boottime": {"secs": 1000000, "nanosecs": 0}})
    spec["linux"]["namespaces"].append({"type": "time"})
    told = float(oci.shell("cat /proc/uptime", spec).split()[0])
    assert told > 1000000


def test_devices_are_made_with_mode_and_owner(oci: Runtime):
    wanted = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640,
              "uid": 5, "gid": 6}  # fmt: skip
    ptmx = {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}  # as Podman's --privileged
    spec = _with(oci.spec(), devices=[wanted, {"path": "/dev/pipe", "type": "p"}, ptmx])
    told = oci.shell("stat -c '%t:%T %a %u %g' /dev/mine; stat -c %F /dev/pipe", spec)
    assert told == "1:3 640 5 6\nfifo"


def test_control_groups_path(oci: Runtime):
    identifier = oci.running(_with(oci.spec("sleep", "1000"), cgroupsPath="/migrate-oci/deep/er"))
    pid = oci.state(identifier)["pid"]
    for root in detect().roots:
        assert str(pid) in (root / "migrate-oci/deep/er/cgroup.procs").read_text().split()
    oci.ok("delete", "-f", identifier)
    for root in detect().roots:
        assert not (root / "migrate-oci/deep/er").exists()
        (root / "migrate-oci/deep").rmdir()
        with contextlib.suppress(OSError):  # another test's container is in it
            (root / "migrate-oci").rmdir()


def test_control_groups_path_of_systemd_is_refused(oci: Runtime):
    spec = _with(oci.spec("true"), cgroupsPath="system.slice:prefix:name")
    assert "systemd" in oci.refused(spec)
    bundle = oci.bundle(oci.spec("true"))
    assert "systemd" in oci.fails("--systemd-cgroup", "create", "-b", bundle, oci.identifier())


def _limit(controller: str, identifier: str, v1: str, v2: str) -> str:
    layout = detect()
    root = layout.v1.get(controller)
    base = root or layout.v2
    assert base
    return (base / "migrate-oci" / identifier / (v1 if root else v2)).read_text().strip()


def test_control_groups_resources(oci: Runtime):
    resources = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20}, "pids": {"limit": 77},
        "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"},
    }  # fmt: skip
    identifier = oci.running(_with(oci.spec("sleep", "1000"), resources=resources))
    assert _limit("memory", identifier, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert _limit("pids", identifier, "pids.max", "pids.max") == "77"
    assert _limit("cpuset", identifier, "cpuset.cpus", "cpuset.cpus") == "0"
    if "cpu" in detect().v1:
        assert _limit("cpu", identifier, "cpu.shares", "") == "512"
        assert _limit("cpu", identifier, "cpu.cfs_quota_us", "") == "20000"


def test_control_groups_limit_that_the_host_can_not_set_is_an_error(oci: Runtime):
    spec = _with(oci.spec("true"), resources={"unified": {"nonsense.max": "1"}})
    assert "nonsense.max" in oci.refused(spec)
    spec = _with(oci.spec("true"), resources={"network": {"classID": 1}})
    assert "network" in oci.refused(spec)


@pytest.mark.skipif("devices" not in detect().v1, reason="no v1 devices controller here")
def test_control_groups_device_rules(oci: Runtime):
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
    ]
    identifier = oci.running(_with(oci.spec("sleep", "1000"), resources={"devices": rules}))
    listed = _limit("devices", identifier, "devices.list", "").splitlines()
    assert "c 10:200 rw" in listed
    assert "a *:* rwm" not in listed
    assert oci.ok("exec", identifier, "sh", "-c", "echo x > /dev/null && echo fine") == "fine"


def test_control_groups_device_rules_of_v2():
    """The way of a host that has cgroup v2 alone, on this one's v2 hierarchy."""
    root = detect().v2
    assert root, "this needs a cgroup v2 hierarchy"
    name = f"t{os.getpid()}-devices"
    group = ControlGroup(name, Layout({}, root, frozenset()), "migrate-oci")
    denied = {"devices": [{"allow": True}, {"allow": False, "type": "c", "major": 1, "minor": 11}]}
    try:
        groups.make(group, denied)
        text = (
            f"echo $$ > {root}/migrate-oci/{name}/cgroup.procs;"
            "echo x > /dev/null && echo null; (: < /dev/kmsg) 2>/dev/null || echo refused"
        )
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["null", "refused"]
    finally:
        group.remove()
        groups.remove_parent(group)


def test_control_groups_mount(oci: Runtime):
    spec = oci.spec()
    spec["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
    )  # fmt: skip
    told = oci.shell("find /sys/fs/cgroup -name cgroup.procs | xargs cat; mkdir /sys/fs/cgroup/x"
                     " /sys/fs/cgroup/*/x 2>&1; true", spec)  # fmt: skip
    assert "1" in told.split()
    assert "Read-only" in told


def test_sysctl(oci: Runtime):
    spec = _with(oci.spec(), sysctl={"net.ipv4.ip_forward": "1", "kernel.shmmax": "65536"})
    told = oci.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax", spec)
    assert told.split() == ["1", "65536"]


@pytest.mark.parametrize("name", ["kernel.panic", "vm.swappiness", "kernel.hostname", "../x"])
def test_sysctl_of_the_host_is_refused(oci: Runtime, name: str):
    assert "sysctl" in oci.refused(_with(oci.spec("true"), sysctl={name: "1"}))


def test_sysctl_without_its_namespace_is_refused(oci: Runtime):
    spec = _with(oci.spec("true"), sysctl={"net.ipv4.ip_forward": "0"})
    spec["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    assert "network" in oci.refused(spec)


SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["not_a_syscall"], "action": "SCMP_ACT_ERRNO"},
    ],
}


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_seccomp(oci: Runtime, no_new_privileges: bool):
    spec = _with(oci.spec(noNewPrivileges=no_new_privileges), seccomp=SECCOMP)
    told = oci.shell("grep Seccomp: /proc/self/status; mkdir /tmp/x 2>&1; true", spec)
    assert told.split()[1] == "2"
    assert "No space left" in told


def test_seccomp_arguments(oci: Runtime):
    rule = {
        "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}],
    }  # fmt: skip
    spec = _with(oci.spec(), seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    told = oci.shell("kill -0 $$ && echo allowed; kill -USR1 $$ 2>&1; true", spec)
    assert "allowed" in told
    assert "not permitted" in told


def test_seccomp_holds_for_exec(oci: Runtime):
    identifier = oci.running(_with(oci.spec("sleep", "1000"), seccomp=SECCOMP))
    done = oci.call("exec", identifier, "mkdir", "/tmp/x")
    assert "No space left" in done.stderr


def test_masked_and_readonly_paths(oci: Runtime):
    spec = _with(oci.spec(), maskedPaths=["/etc/passwd", "/home", "/nothing"],
                 readonlyPaths=["/tmp", "/nothing"])  # fmt: skip
    told = oci.shell("wc -c < /etc/passwd; ls /home | wc -l; touch /tmp/x 2>&1; true", spec)
    assert told.split()[:2] == ["0", "0"]
    assert "Read-only" in told


@pytest.mark.parametrize("word", ["private", "rslave", "rshared", "unbindable"])
def test_rootfs_mount_propagation(oci: Runtime, word: str):
    spec = _with(oci.spec(), rootfsPropagation=word)
    line = oci.shell("grep -m1 ' / ' /proc/self/mountinfo", spec)
    expected = {"private": " - ", "rslave": " ", "rshared": "shared:", "unbindable": "unbindable"}
    assert expected[word] in line


def test_personality(oci: Runtime):
    spec = _with(oci.spec(), personality={"domain": "LINUX32"})
    assert oci.shell("uname -m", spec) == "i686"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"intelRdt": {"closID": "x"}}, "linux.intelRdt"),
        ({"mountLabel": "system_u:object_r:x"}, "linux.mountLabel"),
        ({"rootfsPropagation": "sideways"}, "rootfsPropagation"),
        ({"personality": {"domain": "PLAN9"}}, "personality"),
        ({"timeOffsets": {"monotonic": {"secs": 1}}}, "timeOffsets"),
    ],
)
def test_what_can_not_be_done_is_refused_by_name(oci: Runtime, change: dict[str, Any], word: str):
    assert word in oci.refused(_with(oci.spec("true"), **change))


def test_what_can_not_be_done_of_process_and_mounts_is_refused_by_name(oci: Runtime):
    assert "selinuxLabel" in oci.refused(oci.spec("true", selinuxLabel="x"))
    if not Path("/sys/kernel/security/apparmor").is_dir():
        assert "apparmorProfile" in oci.refused(oci.spec("true", apparmorProfile="x"))


def test_created_init_and_exec_can_not_be_inspected_from_the_container(oci: Runtime):
    """CVE-2019-5736: the host's interpreter must not be reached through /proc/PID/exe."""
    identifier = oci.create(oci.spec("sleep", "1000"))
    told = oci.call("exec", identifier, "cat", "/proc/1/exe")
    assert "Permission denied" in told.stderr
    assert oci.fails("exec", identifier, "/proc/self/exe", status=255)
    mode = os.stat(f"/proc/{oci.state(identifier)['pid']}/exe", follow_symlinks=False).st_mode
    assert stat.S_ISLNK(mode)
