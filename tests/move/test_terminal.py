"""A terminal goes along on a move; who was attached is told where to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from migrate.runtime.errors import GenerationOld
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import make_counter_image

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
STREAMS = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def _attached(host: Host) -> subprocess.Popen[str]:
    found: subprocess.Popen[str] = host.popen([MIGRATE, "attach", "box"], text=True, **STREAMS)
    return found


def _sees(attached: subprocess.Popen[str], text: str) -> None:
    assert attached.stdout
    while text not in (line := attached.stdout.readline()):
        assert line, text


@pytest.fixture(autouse=True)
def clean(two_hosts: tuple[Host, Host]) -> Iterator[None]:
    yield
    for host in two_hosts:
        host.run([MIGRATE, "rm", "-f", "box"], check=False)


@pytest.mark.parametrize("mode", ["stop-copy", "pre-copy", "hybrid", "post-copy"])
def test_a_terminal_moves(lan: Lan, two_hosts: tuple[Host, Host], mode: str) -> None:
    alpha, beta = two_hosts
    make_counter_image(lan.shared, alpha)
    alpha.run([MIGRATE, "run", "-dit", "--name", "box", "counter", "/bin/sh"])
    there = _attached(alpha)
    assert there.stdin
    there.stdin.write("A=kept; busybox stty -echo rows 20 cols 55\n")
    there.stdin.write("echo $A before\n")
    there.stdin.flush()
    _sees(there, "kept before")
    alpha.run([MIGRATE, "move", "--mode", mode, "box", beta.ssh_target])
    _out, told = there.communicate(timeout=60)
    assert there.returncode == GenerationOld.code, told
    assert "not on this host any more" in told
    here = _attached(beta)
    assert here.stdin
    here.stdin.write("echo $A after > /dev/console; busybox stty size\nexit 4\n")
    here.stdin.flush()
    _sees(here, "kept after")
    _sees(here, "20 55")
    here.communicate(timeout=60)
    assert here.returncode == 4
