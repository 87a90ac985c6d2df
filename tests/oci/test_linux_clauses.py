"""config-linux.md: clauses of namespaces, devices, paths, sysctls that test_linux.py has not."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root


def _with(spec: Spec, **linux: Any) -> Spec:
    spec["linux"] |= linux
    return spec


def test_default_filesystems_of_the_types_that_the_section_names(oci: Runtime):
    told = oci.shell("awk '{print $2, $3}' /proc/self/mounts").splitlines()
    assert {"/proc proc", "/sys sysfs", "/dev/pts devpts", "/dev/shm tmpfs"} <= set(told)


def test_default_devices_work(oci: Runtime):
    text = (
        "echo x > /dev/null; head -c 2 /dev/zero | od -An -tx1; echo x > /dev/full;"
        "head -c 3 /dev/random /dev/urandom | wc -c; echo x > /dev/tty"
    )
    done = oci.call("run", "-b", oci.bundle(oci.spec("sh", "-c", text)), oci.identifier())
    assert "00 00" in done.stdout
    assert "No space left" in done.stderr
    assert "/dev/tty" in done.stderr  # there is none: no terminal controls the container


def test_default_links_of_dev(oci: Runtime):
    told = oci.shell("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done")
    assert told.split() == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1",
                            "/proc/self/fd/2", "pts/ptmx"]  # fmt: skip


def test_ptmx_makes_terminals_of_the_containers_own_devpts(oci: Runtime):
    assert oci.shell("script -q -c tty /dev/null 2>/dev/null || ls /dev/pts/ptmx") in {
        "/dev/pts/0", "/dev/pts/ptmx",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["c", "u", "b", "p"])
def test_devices_of_each_type_anywhere(oci: Runtime, kind: str):
    entry: dict[str, Any] = {"path": "/tmp/deep/device", "type": kind, "fileMode": 0o4}
    if kind != "p":
        entry |= {"major": 1, "minor": 7}
    spec = _with(oci.spec(), devices=[entry])
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    told = oci.shell("stat -c '%F %a' /tmp/deep/device", spec)
    names = {"c": "character special file", "b": "block special file", "p": "fifo"}
    assert told == f"{names.get(kind, names['c'])} 4"


def test_device_that_is_another_thing_already_is_an_error(oci: Runtime):
    entry = {"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}
    assert "/etc/passwd" in oci.refused(_with(oci.spec("true"), devices=[entry]))


@pytest.mark.parametrize(
    "entry", [{"path": "dev/x", "type": "c"}, {"path": "/dev/x", "type": "q"}, {"type": "c"}]
)
def test_device_that_is_not_valid_is_refused(oci: Runtime, entry: dict[str, Any]):
    assert "device" in oci.refused(_with(oci.spec("true"), devices=[entry]))


@pytest.mark.parametrize(
    "kind", ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
)
def test_namespace_path_of_each_type_must_be_of_it(oci: Runtime, kind: str):
    other = "uts" if kind != "uts" else "ipc"
    path = f"/proc/{os.getpid()}/ns/{other}"
    kept = [e for e in oci.spec()["linux"]["namespaces"] if e["type"] not in {kind, "mount"}]
    entries = [*kept, {"type": kind, "path": path}]
    entries += [{"type": "mount"}] if kind != "mount" else []
    assert oci.refused(_with(oci.spec("true"), namespaces=entries))


def test_namespace_path_that_is_relative_or_missing_is_an_error(oci: Runtime):
    for path in ("proc/self/ns/net", "/nowhere"):
        entries = [{"type": "mount"}, {"type": "network", "path": path}]
        assert oci.refused(_with(oci.spec("true"), namespaces=entries))


@pytest.mark.parametrize("clock", ["monotonic", "boottime"])
def test_time_offsets_of_each_clock(oci: Runtime, clock: str):
    spec = _with(oci.spec(), timeOffsets={clock: {"secs": 7200, "nanosecs": 5}})
    spec["linux"]["namespaces"].append({"type": "time"})
    told = oci.shell("cat /proc/self/timens_offsets", spec).split()
    assert told[told.index(clock) + 1 : told.index(clock) + 3] == ["7200", "5"]


def test_time_offsets_of_another_clock_are_an_error(oci: Runtime):
    spec = _with(oci.spec("true"), timeOffsets={"realtime": {"secs": 1}})
    spec["linux"]["namespaces"].append({"type": "time"})
    assert "namespaces" in oci.refused(spec)


def test_masked_paths_of_each_kind(oci: Runtime):
    spec = _with(oci.spec(), maskedPaths=["/etc/group", "/home/alice", "/no/such", "/proc/kcore"])
    told = oci.shell(
        "wc -c < /etc/group; ls /home/alice | wc -l; head -c 1 /proc/kcore | wc -c;"
        "touch /home/alice/x 2>&1; echo x > /etc/group && cat /etc/group | wc -c", spec,
    )  # fmt: skip
    assert told.split()[:3] == ["0", "0", "0"]
    assert "Read-only" in told
    assert told.split()[-1] == "0"


def test_readonly_paths_of_each_kind(oci: Runtime):
    spec = _with(oci.spec(), readonlyPaths=["/etc/group", "/home", "/no/such", "/proc/sys"])
    text = "echo x >> /etc/group; touch /home/x; echo 1 > /proc/sys/kernel/shmmax"
    spec["process"]["args"] = ["sh", "-c", text]
    done = oci.call("run", "-b", oci.bundle(spec), oci.identifier())
    assert done.stderr.count("Read-only") == 3
    assert "x" not in (oci.rootfs / "etc/group").read_text().splitlines()
    assert not (oci.rootfs / "home/x").exists()


def test_masked_path_behind_a_link_stays_in_the_container(oci: Runtime):
    link = oci.rootfs / "outside"
    link.symlink_to("/../../../../etc/hostname")
    try:
        oci.call("run", "-b", oci.bundle(_with(oci.spec("true"), maskedPaths=["/outside"])),
                 oci.identifier())  # fmt: skip
        assert os.stat("/etc/hostname").st_size
    finally:
        link.unlink()


def test_sysctl_with_dots_and_with_slashes(oci: Runtime):
    spec = _with(oci.spec(), sysctl={"net/ipv4/ip_default_ttl": "33", "kernel.msgmax": "5000"})
    told = oci.shell("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax", spec)
    assert told.split() == ["33", "5000"]


def test_sysctl_that_does_not_exist_is_an_error(oci: Runtime):
    assert "sysctls" in oci.refused(_with(oci.spec("true"), sysctl={"net.nonsense": "1"}))


@pytest.mark.parametrize(
    ("domain", "machine"), [("LINUX", os.uname().machine), ("LINUX32", "i686")]
)
def test_personality_domains(oci: Runtime, domain: str, machine: str):
    spec = _with(oci.spec(), personality={"domain": domain})
    assert oci.shell("uname -m", spec) == machine
    spec["linux"]["personality"]["flags"] = ["X"]
    assert "flags" in oci.refused(spec)


def test_uid_mappings_of_several_ranges(oci: Runtime):
    mappings = [{"containerID": 0, "hostID": 0, "size": 1},
                {"containerID": 1, "hostID": 200000, "size": 1000}]  # fmt: skip
    spec = _with(oci.spec(), uidMappings=mappings, gidMappings=mappings)
    spec["linux"]["namespaces"].append({"type": "user"})
    told = oci.shell("cat /proc/self/uid_map /proc/self/gid_map", spec).split()
    assert told == ["0", "0", "1", "1", "200000", "1000"] * 2
