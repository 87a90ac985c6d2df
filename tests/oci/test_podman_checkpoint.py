"""Debian's `podman container checkpoint` and `restore` with conmon, on our runtime and CRIU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import eventually
from tests.oci.podman import Podman

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.timeout(240)]

COUNTER = "n=0; while true; do n=$((n+1)); echo $n > /count; echo $n; sleep 0.05; done"


@pytest.fixture(scope="module")
def image(podman: Podman, busybox: Path) -> str:
    archive = podman.directory / "busybox.tar"
    subprocess.run(["tar", "-C", busybox, "-cf", archive, "."], check=True)
    podman.ok("import", archive, "localhost/busybox:latest")
    return "localhost/busybox:latest"


@pytest.fixture
def counting(podman: Podman, image: str) -> Iterator[str]:
    """A counter's name; it has podman's own mounts, a volume of its own, and a little history."""
    (podman.directory / "data").mkdir(exist_ok=True)
    podman.ok("run", "--detach", "--name", "web", "--network", "none", "--cgroup-parent",
              "/migrate-test", "-v", f"{podman.directory}/data:/data", "--hostname", "moby",
              image, "sh", "-c", COUNTER)  # fmt: skip
    yield "web"
    podman.call("rm", "--force", "--time", "0", "--all")


def _count(podman: Podman, name: str) -> int:
    done = podman.call("exec", name, "cat", "/count")
    return int(done.stdout or 0) if done.returncode == 0 else 0


def _look(podman: Podman, name: str) -> str:
    return podman.ok(
        "exec",
        name,
        "sh",
        "-c",
        "cut -d' ' -f5 /proc/self/mountinfo | sort;"
        "cat /etc/hosts /etc/resolv.conf; hostname; grep Seccomp: /proc/1/status",
    )


def test_checkpoint_and_restore(podman: Podman, counting: str):
    assert eventually(lambda: _count(podman, counting) > 5)
    before, seen = _count(podman, counting), _look(podman, counting)
    podman.ok("container", "checkpoint", counting)
    status = ("inspect", "--format", "{{.State.Status}} {{.State.Checkpointed}}", counting)
    assert eventually(lambda: podman.ok(*status).startswith("exited true"))
    podman.ok("container", "restore", counting)
    assert eventually(lambda: _count(podman, counting) > before)
    assert _look(podman, counting) == seen
    assert eventually(lambda: int(podman.ok("logs", "--tail", "1", counting) or 0) > before)
    podman.ok("kill", "--signal", "KILL", counting)
    look = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", counting)
    assert eventually(lambda: podman.ok(*look) == "exited 137")


def test_leave_running(podman: Podman, counting: str):
    assert eventually(lambda: _count(podman, counting) > 2)
    podman.ok("container", "checkpoint", "--leave-running", counting)
    before = _count(podman, counting)
    assert eventually(lambda: _count(podman, counting) > before)


def test_export_and_import_under_another_name(podman: Podman, counting: str):
    assert eventually(lambda: _count(podman, counting) > 5)
    before = _count(podman, counting)
    archive = podman.directory / "checkpoint.tar.gz"
    podman.ok("exec", counting, "sh", "-c", "echo kept > /written")
    podman.ok("container", "checkpoint", "--export", archive, counting)
    podman.ok("rm", counting)
    podman.ok("container", "restore", "--import", archive, "--name", "other")
    assert eventually(lambda: _count(podman, "other") > before)
    assert podman.ok("exec", "other", "cat", "/written") == "kept"
