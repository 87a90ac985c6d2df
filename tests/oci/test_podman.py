"""Debian's Podman with conmon as its monitor, on our runtime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engine import eventually
from tests.oci.podman import Podman

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


@pytest.fixture
def options(busybox: Path) -> list[str | Path]:
    """The container's place: on our rootfs, without a network of Podman's making."""
    return ["--network", "none", "--cgroup-parent", "/migrate-test", "--rootfs", busybox]


def test_run_with_output_exit_status_seccomp_and_limits(podman: Podman, options: list[str | Path]):
    text = "grep Seccomp: /proc/self/status; ulimit -n; cat /sys/fs/cgroup/pids/pids.max; exit 7"
    done = podman.call("run", "--rm", "--pids-limit", "99", "--user", "1000:50", *options,
                       "sh", "-c", f"echo err >&2; {text}")  # fmt: skip
    assert (done.returncode, done.stderr) == (7, "err\n")
    assert done.stdout.split() == ["Seccomp:", "2", "1024", "99"]


def test_run_of_a_program_that_is_not_there_has_status_127(
    podman: Podman, options: list[str | Path]
):
    assert podman.call("run", "--rm", *options, "nosuch").returncode == 127
    assert podman.call("run", "--rm", *options, "/etc/passwd").returncode == 126


def test_life_of_a_container(podman: Podman, options: list[str | Path]):
    podman.ok("run", "--detach", "--name", "web", *options, "sleep", "1000")
    assert podman.ok("exec", "web", "echo", "inside") == "inside"
    assert podman.call("exec", "web", "sh", "-c", "exit 4").returncode == 4
    assert podman.call("exec", "web", "nosuch").returncode == 127
    assert podman.ok("exec", "--tty", "web", "tty").startswith("/dev/pts/")
    podman.ok("pause", "web")
    assert "paused" in podman.ok("inspect", "--format", "{{.State.Status}}", "web")
    podman.ok("unpause", "web")
    assert eventually(lambda: "sleep" in podman.ok("top", "web", "args"))
    podman.ok("kill", "--signal", "KILL", "web")
    look = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web")
    assert eventually(lambda: podman.ok(*look) == "exited 137")
    podman.ok("start", "web")
    podman.ok("stop", "--time", "0", "web")
    podman.ok("rm", "web")


def test_logs_with_a_terminal(podman: Podman, options: list[str | Path]):
    podman.ok("run", "--detach", "--tty", "--name", "tty", *options, "tty")
    assert eventually(lambda: podman.ok("logs", "tty").startswith("/dev/pts/"))
    podman.ok("rm", "--force", "--time", "0", "tty")


def test_options_of_every_day(podman: Podman, options: list[str | Path]):
    def told(*words: str) -> str:
        at = words.index("--")
        return podman.ok("run", "--rm", *words[:at], *options, *words[at + 1 :])

    assert "CapEff" in told("--privileged", "--", "grep", "CapEff", "/proc/self/status")
    assert (
        told("--read-only", "--", "sh", "-c", "touch /x 2>/dev/null; touch /tmp/y && echo y") == "y"
    )
    shared = ("--pid", "host", "--ipc", "host", "--uts", "host")
    assert told(*shared, "--", "hostname") == os.uname().nodename
    mounts_of = ("sh", "-c", "grep -E ' /data | /host ' /proc/self/mounts")
    assert len(told("--tmpfs", "/data", "-v", "/etc:/host:ro", "--", *mounts_of).splitlines()) == 2
    look = ("cat", "/proc/sys/net/ipv4/ip_forward")
    assert told("--sysctl", "net.ipv4.ip_forward=1", "--", *look) == "1"


def test_a_user_namespace(podman: Podman, options: list[str | Path]):
    maps = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    told = podman.ok("run", "--rm", *maps, *options, "cat", "/proc/self/uid_map")
    assert told.split() == ["0", "100000", "65536"]
