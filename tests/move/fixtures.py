"""A counter in a container, and what can be asked about it from outside."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from migrate.runtime.errors import ContainerBusy
from tests.engine import eventually
from tests.hosts import redis
from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE
from tests.hosts.rootfs import make_rootfs

COUNTER = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep ${PAUSE:-0.02}; done"
ADDRESS = "10.77.0.110"
RECOVER_LIMIT = 120.0  # seconds
BUSY_LIMIT = 90.0
"""Seconds after a cut until the last end of the connection has arrived, or was given up."""


def make_counter_image(shared: Path, *hosts: Host) -> None:
    """Import the image `counter` on each host."""
    archive = shared / "counter.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory() as directory:
            make_rootfs(Path(directory))
            subprocess.run(["tar", "-C", directory, "-cf", archive, "."], check=True)
    for host in hosts:
        host.run([MIGRATE, "image", "import", str(archive), "counter"])


def start_counter(host: Host, name: str = "counter", *options: str) -> None:
    """Run the counter on `host`."""
    host.run([MIGRATE, "run", "-d", "--name", name, *options, "counter", "/bin/sh", "-c", COUNTER])


def containers(host: Host) -> dict[str, str]:
    """Status by name."""
    told = host.run([MIGRATE, "ps", "-a", "--json"]).stdout
    return {row["name"]: row["status"] for row in json.loads(told)}


def last_count(host: Host, name: str = "counter") -> int:
    """The last number that the counter has written to its log."""
    lines = host.run([MIGRATE, "logs", "--tail", "1", name], check=False).stdout.split()
    return int(lines[-1]) if lines else 0


def counts_on(host: Host, name: str = "counter", limit: float = 20.0) -> bool:
    """Whether the counter makes progress; one that was started anew begins with 1 again."""
    begun = last_count(host, name)
    return eventually(lambda: last_count(host, name) not in {0, begun}, limit)


def is_gapless(host: Host, name: str = "counter") -> bool:
    """Whether the log has every number once, in order: nothing lost, nothing twice."""
    numbers = [int(line) for line in host.run([MIGRATE, "logs", name]).stdout.split()]
    return numbers == list(range(1, len(numbers) + 1))


def recover(host: Host) -> None:
    """Settle what was cut off; an agent whose link was cut can take a while to learn of it."""
    told: list[subprocess.CompletedProcess[str]] = []

    def is_settled() -> bool:
        told[:] = [host.run([MIGRATE, "recover"], check=False, timeout=RECOVER_LIMIT)]
        return told[0].returncode != ContainerBusy.code

    eventually(is_settled, BUSY_LIMIT)
    assert told[0].returncode == 0, f"recover at {host.name}: {told[0].stderr}"


def left_of_moves(host: Host) -> list[str]:
    """What is in the directories of moves that come and go."""
    moves = "/var/lib/migrate/moves"
    listing = f"ls {moves}/incoming {moves}/outgoing 2>/dev/null | grep -v :"
    told: list[str] = host.run(["sh", "-c", listing], check=False).stdout.split()
    return told


def writes_on(client: redis.Client, count: int) -> bool:
    """Whether it comes to have written more than so many keys; none of them with an error."""

    def has_written() -> bool:
        report = client.mark()
        assert report.errors == ()
        return report.written > count

    return eventually(has_written)
