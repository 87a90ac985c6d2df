"""What a container's process sees of itself and of the host: as much as it should, and no more."""

from __future__ import annotations

import os
import socket

import pytest

from migrate.kernel.capabilities import mask_of
from migrate.runtime.spec import DEFAULT_CAPABILITIES
from tests.engine import Engine

pytestmark = pytest.mark.root


def _sections(text: str) -> dict[str, str]:
    parts = text.split("=== ")[1:]
    return {p.split("\n", 1)[0]: p.split("\n", 1)[1].strip() for p in parts}


LOOK = r"""
echo '=== status'; cat /proc/self/status
echo '=== pid'; echo $$
echo '=== descriptors'; ls -l /proc/1/fd
echo '=== mounts'; cat /proc/self/mountinfo
echo '=== interfaces'; ls /sys/class/net
echo '=== hostname'; hostname
echo '=== namespaces'; for n in pid mnt net uts ipc cgroup; do readlink /proc/1/ns/$n; done
echo '=== cgroup'; cat /proc/self/cgroup
echo '=== sysctl'; echo 1 > /proc/sys/kernel/panic 2>&1 || echo refused
echo '=== kcore'; wc -c < /proc/keys; ls /sys/firmware | wc -l
echo '=== devices'; ls -l /dev
echo '=== disk'; mknod /tmp/disk b 254 0; (head -c 1 /tmp/disk | wc -c) 2>&1
echo '=== write'; echo x > /file && cat /file
"""


@pytest.fixture(scope="module")
def seen(engine: Engine) -> dict[str, str]:
    done = engine.once("--hostname", "moby", "sh", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    return _sections(done.stdout)


def _field(status: str, name: str) -> str:
    return next(x.split(":", 1)[1].strip() for x in status.splitlines() if x.startswith(name + ":"))


def test_capabilities_are_the_default_set(seen):
    expected = mask_of(DEFAULT_CAPABILITIES)
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(_field(seen["status"], kind), 16) == expected
    assert int(_field(seen["status"], "CapAmb"), 16) == 0
    assert not expected & mask_of(["CAP_SYS_ADMIN"])


def test_no_new_privileges_and_no_signal_is_ignored(seen):
    assert _field(seen["status"], "NoNewPrivs") == "1"
    assert int(_field(seen["status"], "SigBlk"), 16) == 0
    assert int(_field(seen["status"], "SigIgn"), 16) & ~0x6 == 0  # sh itself ignores what it likes


def test_it_is_process_one_with_three_descriptors(seen):
    assert seen["pid"] == "1"
    numbers = {line.split()[8] for line in seen["descriptors"].splitlines()[1:]}
    assert numbers - {"10"} == {"0", "1", "2"}  # busybox sh keeps 10 for itself at times
    assert str(os.getcwd()) not in seen["descriptors"]


def test_namespaces_are_its_own(seen):
    kinds = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
    for kind, inside in zip(kinds, seen["namespaces"].splitlines(), strict=True):
        assert inside != os.readlink(f"/proc/self/ns/{kind}")
    assert seen["hostname"] == "moby" != socket.gethostname()
    assert all(line.endswith(":/") for line in seen["cgroup"].splitlines())


def test_no_mount_of_the_host_is_visible(seen, engine):
    points = [line.split()[4] for line in seen["mounts"].splitlines()]
    assert points[0] == "/"
    allowed = ("/proc", "/dev", "/sys")
    assert [p for p in points[1:] if not p.startswith(allowed)] == []
    assert sum(" - sysfs " in line for line in seen["mounts"].splitlines()) == 1
    sysfs = next(line for line in seen["mounts"].splitlines() if " - sysfs " in line)
    assert "ro," in sysfs


def test_the_network_none_has_only_lo(seen):
    assert "eth0" not in seen["interfaces"].split()
    assert "lo" in seen["interfaces"].split()


def test_proc_is_masked_and_read_only(seen):
    assert "refused" in seen["sysctl"]
    assert set(seen["kcore"].split()) == {"0"}


def test_devices_are_the_default_ones_and_no_disk_can_be_read(seen):
    names = {line.split()[9] for line in seen["devices"].splitlines() if line.startswith("c")}
    assert names == {"full", "null", "random", "tty", "urandom", "zero"}
    assert seen["disk"].splitlines()[-1] == "0"


def test_the_rootfs_directory_is_not_written_to(seen, engine):
    assert seen["write"] == "x"
    assert not (engine.rootfs / "file").exists()


def test_a_terminal_can_be_opened_and_streams_reopened(engine):
    script = "exec 3<>/dev/ptmx && echo open; ls /dev/pts; echo out > /dev/stdout"
    done = engine.once("-u", "alice", "sh", "-c", script)
    assert done.stdout.split() == ["open", "0", "ptmx", "out"], done.stderr


def test_capabilities_can_be_added_and_dropped(engine):
    done = engine.once("--cap-drop", "all", "--cap-add", "net_admin", "cat", "/proc/self/status")
    assert int(_field(done.stdout, "CapEff"), 16) == mask_of(["CAP_NET_ADMIN"])
    assert int(_field(done.stdout, "CapBnd"), 16) == mask_of(["CAP_NET_ADMIN"])
    assert "cap_nonsense" in engine.fails(
        "run", "--rootfs", engine.rootfs, "--cap-add", "cap_nonsense", "true", code=38
    ).lower()  # fmt: skip


def test_a_user_has_its_ids_groups_home_and_no_capabilities(engine):
    done = engine.once("-u", "alice", "sh", "-c", "id; echo $HOME; cat /proc/self/status")
    assert "uid=1000(alice) gid=1000(alice) groups=50(staff)" in done.stdout
    assert "/home/alice" in done.stdout
    assert int(_field(done.stdout, "CapEff"), 16) == 0
    assert engine.once("-u", "7:alice", "id").stdout.startswith("uid=7 gid=1000(alice)")
    engine.fails("run", "--rootfs", engine.rootfs, "-u", "nobody-here", "true", code=38)


def test_a_read_only_root_refuses_writes_and_the_environment_is_given(engine):
    script = "echo $A-$B; pwd; touch /x 2>&1; touch /dev/shm/x && echo shm"
    done = engine.once("--read-only", "-e", "A=1", "-e", "B=two words", "-w", "/tmp",
                       "sh", "-c", script)  # fmt: skip
    assert done.stdout.splitlines()[:2] == ["1-two words", "/tmp"]
    assert "Read-only file system" in done.stdout
    assert "shm" in done.stdout


def test_the_interpreter_of_the_host_can_not_be_run(engine):
    script = engine.directory / "script"
    script.write_text("#! /proc/self/exe -c\n")
    script.chmod(0o755)
    assert "own interpreter" in engine.fails(
        "run", "--rootfs", engine.rootfs, "-v", f"{script}:/script:ro", "/script", code=39
    )
    assert "own interpreter" in engine.fails(
        "run", "--rootfs", engine.rootfs, "/proc/self/exe", code=39
    )
