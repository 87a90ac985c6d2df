"""Podman with `--cgroup-manager systemd`: its containers are scopes of a real systemd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import eventually
from tests.oci.podman import Podman
from tests.oci.systemdhost import SystemdHost, booted

pytestmark = [pytest.mark.root, pytest.mark.hosts, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with booted() as made:
        yield made


@pytest.fixture(scope="module")
def podman(host: SystemdHost) -> Iterator[Podman]:
    place = host.shared / "podman"
    place.mkdir()
    inside = ["nsenter", "-t", str(host.pid), "-a", "--"]
    made = Podman(place, before=inside, manager="systemd", volatile="/run/podman-test")
    yield made
    made.ok("rm", "--all", "--force", "--time", "0")


@pytest.fixture
def options(host: SystemdHost) -> list[str | Path]:
    return ["--network", "none", "--rootfs", host.shared / "busybox"]


def _scope(podman: Podman, name: str) -> str:
    return f"libpod-{podman.ok('inspect', '--format', '{{.Id}}', name)}.scope"


def test_run_gives_output_and_exit_status(podman: Podman, options: list[str | Path]):
    done = podman.call("run", "--rm", "--pids-limit", "99", *options, "sh", "-c", "echo in; exit 7")
    assert (done.returncode, done.stdout) == (7, "in\n"), done.stderr


def test_life_of_a_container(podman: Podman, host: SystemdHost, options: list[str | Path]):
    podman.ok("run", "--detach", "--name", "web", "-m", "64m", "--pids-limit", "50", *options,
              "sleep", "1000")  # fmt: skip
    unit = _scope(podman, "web")
    assert host.property(unit, "ActiveState") == "active"
    assert host.property(unit, "Slice") == "machine.slice"
    assert host.property(unit, "TasksMax") == "50"
    assert podman.ok("exec", "web", "echo", "inside") == "inside"
    groups = podman.ok("exec", "web", "cat", "/proc/self/cgroup")
    assert f"/{unit}" in groups or ":/\n" in groups + "\n"
    assert podman.call("exec", "web", "sh", "-c", "exit 4").returncode == 4
    podman.ok("pause", "web")
    podman.ok("unpause", "web")
    podman.ok("stop", "--time", "0", "web")
    look = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web")
    assert eventually(lambda: podman.ok(*look) == "exited 137")
    podman.ok("start", "web")
    assert host.property(unit, "ActiveState") == "active"
    podman.ok("rm", "--force", "--time", "0", "web")
    assert eventually(lambda: host.property(unit, "LoadState") == "not-found")
