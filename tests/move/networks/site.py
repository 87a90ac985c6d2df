"""Three hosts with one network, containers in it, and full dumps of what a host has."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench.hosts import IMAGE
from migrate.bench.loads.load import PACKAGE
from migrate.bench.network import Client
from migrate.bench.networksite import Place
from tests.engine import eventually
from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE

PORT = 7100
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
TURNS = int(os.environ.get("MIGRATE_NETWORK_MOVES", "2"))
"""Moves under a client, there and back; `make soak` has ten."""
SOAK = TURNS >= 10
SUBNET, SUBNET6 = "10.99.0.0/24", "fd99::/64"
ON_LINK, IN_SUBNET = "10.77.0.120", "10.99.0.20"
"""A container's address on the hosts' own link, and in a network of ours."""
DRIVERS = ("bridge", "overlay", "routed")
START_LIMIT = 60.0
"""Seconds that Python may take to start in a container, on a busy machine."""
Trio = tuple[Host, Host, Host]


class Within:
    """A host's programs in the network namespace of one of its containers."""

    def __init__(self, host: Host, container: str) -> None:
        self._host = host
        self._entering = ["nsenter", f"--net=/run/migrate/netns/{container}"]

    def popen(self, command: Sequence[Any], **options: Any) -> Any:
        """As Machine.popen."""
        return self._host.popen([*self._entering, *command], **options)

    def run(self, command: Sequence[Any], **options: Any) -> Any:
        """As Machine.run."""
        return self._host.run([*self._entering, *command], **options)


@dataclass(frozen=True)
class Joined:
    """A network: how a container joins it, its address there, and a place for its clients."""

    options: tuple[str, ...]
    address: str
    client: Host | Within

    @property
    def place(self) -> Place:
        """For migrate.bench.network.Client."""
        return Place(self.options, self.address, self.client.popen)


@contextlib.contextmanager
def network(hosts: Trio, name: str, driver: str) -> Iterator[Trio]:
    """A network on three hosts; afterwards nothing of it, and of its containers, is left."""
    before = [dump(host) for host in hosts]
    create_network(hosts, name, driver)
    yield hosts
    for host in hosts:
        remove_containers(host)
    for host, had in zip(hosts, before, strict=True):
        host.run([MIGRATE, "network", "rm", name])
        assert changes(had, host) == []


@contextlib.contextmanager
def joined(hosts: Trio, driver: str) -> Iterator[Joined]:
    """A network of that driver, whose clients are on the third host."""
    gamma = hosts[2]
    if driver == "bridge":
        options = ("--network", "bridge", "--bridge", "br-lan", "--ip", f"{ON_LINK}/24")
        yield Joined(options, ON_LINK, gamma)
        for host in hosts:
            remove_containers(host)
        return
    with network(hosts, "site", driver):
        options = ("--network", "site", "--ip", IN_SUBNET)
        client = gamma if driver == "routed" else Within(gamma, run_idle(gamma, "client", "site"))
        yield Joined(options, IN_SUBNET, client)


def remove_containers(host: Host) -> None:
    """All that it has, after what was begun is settled."""
    host.run([MIGRATE, "recover"], check=False)
    for row in json.loads(host.run([MIGRATE, "ps", "-a", "--json"]).stdout):
        host.run([MIGRATE, "rm", "-f", row["name"]])


def create_network(hosts: Iterable[Host], name: str, driver: str, *options: str) -> None:
    """The same on all of them."""
    hosts = list(hosts)
    peers = [word for host in hosts for word in ("--peer", host.address)]
    for host in hosts:
        host.run([
            MIGRATE, "network", "create", name, "--driver", driver, "--subnet", SUBNET,
            "--subnet6", SUBNET6, *peers, *options,
        ])  # fmt: skip


def run_idle(host: Host, name: str, network: str) -> str:
    """A container that does nothing; its id."""
    return run(host, name, network, program=("-c", "import signal; signal.pause()"))


def run_server(host: Host, name: str, network: str, address: str, *options: str) -> str:
    """A container that serves `workloads/traffic.py`; its id."""
    return run_joined(host, name, "--network", network, "--ip", address, *options)


def run_joined(host: Host, name: str, *options: str) -> str:
    """`run_server`, with all of the options that join it to its network; it takes connections."""
    made = run_program(
        host, name, *options, "-v", f"{PACKAGE}:/bench/migrate:ro",
        program=("/bench/migrate/bench/workloads/traffic.py", "serve", str(PORT)),
    )  # fmt: skip
    assert eventually(lambda: "ready" in host.run([MIGRATE, "logs", name]).stdout, START_LIMIT)
    return made


def run_talker(host: Host, name: str, network: str, address: str, other: str) -> str:
    """A container that asks the server at `other` for ever; its id."""
    return run(
        host, name, network, "--ip", address, "-v", f"{PROGRAMS}:/programs:ro",
        program=("/programs/talk.py", other, str(PORT)),
    )  # fmt: skip


def run(host: Host, name: str, network: str, *options: str, program: tuple[str, ...]) -> str:
    """A container with the host's /usr that runs a Python program; its id."""
    return run_program(host, name, "--network", network, *options, program=program)


def run_program(host: Host, name: str, *options: str, program: tuple[str, ...]) -> str:
    """As `run`, with all of the options that join it to its network; its id."""
    done = host.run([
        MIGRATE, "run", "-d", "--name", name, *options,
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
    """What a host has more, and what less, than when the dump was taken; a line for each.

    The kernel forgets some of it a moment later: only what stays is told.
    """
    found: list[str] = []

    def are_none() -> bool:
        had, has = set(before), set(dump(host))
        found[:] = [f"+ {line}" for line in sorted(has - had)]
        found.extend(f"- {line}" for line in sorted(had - has))
        return not found

    eventually(are_none)
    return found


def answers_on(client: Client, count: int = 0) -> bool:
    """Whether more than so many answers come from now on; raises where a connection ended."""
    begun = client.mark()["answers"]
    return eventually(lambda: client.mark()["answers"] > begun + count)
