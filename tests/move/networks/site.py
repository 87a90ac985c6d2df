"""Three hosts with one network, containers in it, and full dumps of what a host has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from migrate.bench.hosts import IMAGE
from migrate.bench.loads.load import PACKAGE
from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE

PORT = 7100
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
SUBNET, SUBNET6 = "10.99.0.0/24", "fd99::/64"
_UNSTABLE = ("br-lan", "eth0", "lo")


def create_network(hosts: Iterable[Host], name: str, driver: str, *options: str) -> None:
    """The same on all of them."""
    hosts = list(hosts)
    peers = [word for host in hosts for word in ("--peer", host.address)]
    for host in hosts:
        host.run([
            MIGRATE, "network", "create", name, "--driver", driver, "--subnet", SUBNET,
            "--subnet6", SUBNET6, *peers, *options,
        ])  # fmt: skip


def run_server(host: Host, name: str, network: str, address: str, *options: str) -> str:
    """A container that serves `workloads/traffic.py`; its id."""
    return run(
        host, name, network, "--ip", address, *options, "-v", f"{PACKAGE}:/bench/migrate:ro",
        program=("/bench/migrate/bench/workloads/traffic.py", "serve", str(PORT)),
    )  # fmt: skip


def run_talker(host: Host, name: str, network: str, address: str, other: str) -> str:
    """A container that asks the server at `other` for ever; its id."""
    return run(
        host, name, network, "--ip", address, "-v", f"{PROGRAMS}:/programs:ro",
        program=("/programs/talk.py", other, str(PORT)),
    )  # fmt: skip


def run(host: Host, name: str, network: str, *options: str, program: tuple[str, ...]) -> str:
    """A container with the host's /usr that runs a Python program; its id."""
    done = host.run([
        MIGRATE, "run", "-d", "--name", name, "--network", network, *options,
        "-v", "/usr:/usr:ro", IMAGE, "/usr/bin/python3", "-S", "-u", *program,
    ])  # fmt: skip
    assert not done.stderr, done.stderr
    return str(done.stdout.strip())


def move(source: Host, target: Host, name: str, *options: str) -> dict[str, object]:
    """Its result; every peer could be told."""
    told = source.run([MIGRATE, "move", name, target.ssh_target, "--json", *options]).stdout
    events = [json.loads(line) for line in told.splitlines()]
    notes = [event.get("name", "") for event in events]
    assert not [note for note in notes if "told" in note], notes
    result = events[-1]["result"]
    assert isinstance(result, dict)
    return result


def begin_move(source: Host, target: Host, name: str) -> subprocess.Popen[str]:
    """The command, at work."""
    return source.popen(
        [MIGRATE, "move", name, target.ssh_target, "--json"], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def dump(host: Host) -> list[str]:
    """Interfaces, addresses, routes, neighbours, forwarding entries, namespaces of a host.

    Without what the hosts' own link learns and forgets by itself.
    """
    script = (
        "ip -o -d link; ip -o addr; ip route show table all; ip -6 route show table all; "
        "ip neigh show; ip neigh show proxy; ip rule; ip -6 rule; bridge fdb show; "
        "ls /run/migrate/netns"
    )
    lines = host.run(["sh", "-c", script]).stdout.splitlines()
    return sorted(_steady(line) for line in lines if not _learned(line))


def _learned(line: str) -> bool:
    words = line.split()
    is_neighbour = len(words) > 3 and words[1] == "dev" and words[2] in _UNSTABLE
    return is_neighbour or ("dev eth0" in line and "master br-lan" in line)


def _steady(line: str) -> str:
    """Without interface numbers, counters and times."""
    words = line.split()
    if words and words[0].rstrip(":").isdigit():
        words = words[1:]
    kept = []
    for word in words:
        if kept and kept[-1] in {"gc_timer", "tcn_timer", "hello_timer", "topology_change_timer"}:
            continue
        kept.append(word)
    return " ".join(kept)
