"""Three hosts with one network, containers in it, and full dumps of what a host has."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from migrate.bench.hosts import IMAGE
from migrate.bench.loads.load import PACKAGE
from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE

PORT = 7100
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
TURNS = int(os.environ.get("MIGRATE_NETWORK_MOVES", "4"))
"""Moves under a client, there and back; `make soak` has ten."""
SUBNET, SUBNET6 = "10.99.0.0/24", "fd99::/64"


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

    Without what belongs to the hosts' own link, of which the kernel learns and forgets much.
    """
    script = (
        "ip -o -d link; ip -o addr; ip route show table all; ip -6 route show table all; "
        "ip neigh show; ip neigh show proxy; ip rule; ip -6 rule; bridge fdb show; "
        "ls /run/migrate/netns 2>/dev/null; true"
    )
    lines = host.run(["sh", "-c", script]).stdout.splitlines()
    noise = (_of_the_hosts_link, _of_hosts_themselves)
    return sorted({_steady(line) for line in lines if not any(check(line) for check in noise)})


def _of_the_hosts_link(line: str) -> bool:
    is_ours = any(mark in line for mark in ("10.99.", "fd99:", " mr-", " mb-", " mv-"))
    return bool(re.search(r"\b(eth0|br-lan)\b", line)) and not is_ours


def _of_hosts_themselves(line: str) -> bool:
    """Bridges of other hosts heard over a segment, and what every interface of a router hears."""
    heard = " mv-" in line and "permanent" not in line and not line.startswith(("02:", "00:00:"))
    return heard or line.startswith("33:33:00:00:00:02")


def _steady(line: str) -> str:
    """Without interface numbers, timers, and what a bridge takes over from whoever was its port."""
    line = re.sub(r"^\d+: ", "", line)
    line = re.sub(r"\b(gso|gro|tso)_\w+ \d+ ?", "", line)
    line = re.sub(r"@if\d+|link-netnsid \d+|port_(id|no) \S+|designated_port \d+", "", line)
    return re.sub(r"\b(\w+_timer) +[\d.]+", r"\1", line).replace(" tentative", "")


def changes(before: list[str], host: Host) -> list[str]:
    """What a host has more, and what less, than when the dump was taken; a line for each."""
    had, has = set(before), set(dump(host))
    return [f"+ {line}" for line in sorted(has - had)] + [f"- {line}" for line in sorted(had - has)]
