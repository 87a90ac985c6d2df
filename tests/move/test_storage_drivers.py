"""Moves between hosts whose storage drivers differ: the files are the same on both."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import (
    containers,
    counts_on,
    is_gapless,
    make_counter_image,
    start_counter,
)

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
FILES = (
    "rm /etc/passwd; mkdir -p /own/deep; echo mine > /own/deep/file; ln /own/deep/file /own/link;"
    " chown 5:6 /own/deep/file; chmod 640 /own/deep/file; ln -s deep/file /own/way;"
    " dd if=/dev/zero of=/own/large bs=64k count=32 2>/dev/null; echo end >> /own/large"
)
# File systems count the links and the size of a directory differently.
LOOK = (
    "find /own /etc -type d -exec stat -c '%n %a %u %g' {} + | sort;"
    " find /own /etc ! -type d -exec stat -c '%n %a %u %g %s %h %Y' {} + | sort;"
    " md5sum /own/large; cat /own/way; ls /etc/passwd"
)


@pytest.fixture(scope="module")
def hosts(lan: Lan) -> tuple[Host, Host]:
    """Alpha has overlay; beta has vfs."""
    alpha, beta = lan.host("alpha"), lan.host("beta")
    make_counter_image(lan.shared, alpha, beta)
    for host, driver in ((alpha, "overlay"), (beta, "vfs")):
        script = f'#!/bin/sh\nexec {MIGRATE} --storage-driver {driver} "$@"\n'
        host.run(["sh", "-c", "cat > /root/driven && chmod 755 /root/driven"], input=script)
    return alpha, beta


@pytest.fixture(autouse=True)
def clean(hosts: tuple[Host, Host]) -> Iterator[None]:
    yield
    for host in hosts:
        host.run([MIGRATE, "recover"], check=False)
        for name in containers(host):
            host.run([MIGRATE, "rm", "-f", name])


def look(host: Host) -> str:
    return str(host.run([MIGRATE, "exec", "counter", "sh", "-c", LOOK], check=False).stdout)


def storage(host: Host) -> str:
    inspected = json.loads(host.run([MIGRATE, "inspect", "counter"]).stdout)
    return str(inspected["record"]["storage"])


def move(source: Host, target: Host, mode: str) -> None:
    source.run([MIGRATE, "move", "--mode", mode, "--remote-command", "/root/driven", "counter",
                target.ssh_target])  # fmt: skip


def test_there_and_back(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    start_counter(alpha)
    alpha.run([MIGRATE, "exec", "counter", "sh", "-c", FILES])
    before = look(alpha)
    assert "mine" in before
    move(alpha, beta, "pre-copy")
    assert storage(beta) == "vfs"
    assert look(beta) == before
    assert counts_on(beta)
    beta.run([MIGRATE, "exec", "counter", "sh", "-c", "rm /own/link; echo new > /own/new"])
    there = look(beta)
    move(beta, alpha, "stop-copy")
    assert storage(alpha) == "overlay"
    assert look(alpha) == there
    assert counts_on(alpha)
    assert is_gapless(alpha)


def test_without_memory(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    start_counter(alpha, "counter", "--stop-signal", "KILL")
    alpha.run([MIGRATE, "exec", "counter", "sh", "-c", FILES])
    before = look(alpha)
    move(alpha, beta, "cold")
    assert look(beta) == before
    assert counts_on(beta)
