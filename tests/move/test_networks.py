"""Networks across a move: addresses, connections and published ports follow, nothing is left."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrate.runtime.errors import AddressTaken, NetworkUnknown, PortTaken
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.host import Client, Machine
from tests.hosts.netdump import await_ipv6, macs, netdump
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding
from tests.rootfs import busybox_rootfs

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
PROGRAMS = Path(__file__).parents[1] / "runtime/networks/programs"
PYTHON = "/usr/bin/python3"
ADDRESS, ADDRESS6 = "10.77.0.150", "fd00:77::150"
CREATE = (MIGRATE, "network", "create", "front", "--parent", "br-lan", "--subnet", "10.77.0.0/24",
          "--subnet6", "fd00:77::/64", "--option")  # fmt: skip
RANGES = ("range=10.77.0.144/29", "range=10.77.0.152/29")


@pytest.fixture(scope="module")
def busybox(lan: Lan) -> Path:
    """A root file system where all hosts see it, for which /usr is this machine's."""
    root = busybox_rootfs(lan.shared / "busybox")
    for name in ("lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    return root


@pytest.fixture(scope="module")
def client(lan: Lan) -> Client:
    made = lan.client()
    made.run(["ip", "addr", "add", "fd00:77::200/64", "dev", "eth0", "nodad"])
    return made


@pytest.fixture(scope="module")
def pair(lan: Lan, client: Client) -> tuple[Host, Host]:
    """Two hosts with one network of the name `front`, on the link that they share."""
    alpha, beta = lan.host("alpha"), lan.host("beta")
    for host, part in zip((alpha, beta), RANGES, strict=True):
        host.run([*CREATE, part])
        # Forwarding, for published ports, is what stays of the first one.
        host.run([MIGRATE, "network", "create", "first", "--subnet6", "fd00:1::/64"])
        host.run([MIGRATE, "network", "rm", "first"])
        await_ipv6(host)
    MACHINES.update(macs(lan))
    return alpha, beta


@pytest.fixture
def clean(pair: tuple[Host, Host], busybox: Path) -> Iterator[tuple[Host, Host]]:
    """Afterwards both hosts are as before."""
    before = [dump(host) for host in pair]
    yield pair
    for host in pair:
        for name in leases_and_containers(host)[1]:
            host.run([MIGRATE, "rm", "-f", name])
    assert changes(pair, before) == []


MACHINES: set[str] = set()
"""The MAC addresses of all machines here."""


def dump(host: Host) -> set[str]:
    return netdump(host, frozenset(MACHINES))


def changes(hosts: Sequence[Host], before: Sequence[set[str]]) -> list[str]:
    """What has come or gone on any since the dumps; the kernel forgets some things a bit later."""
    found: list[str] = []

    def are_none() -> bool:
        found[:] = [
            line for host, was in zip(hosts, before, strict=True) for line in dump(host) ^ was
        ]
        return not found

    eventually(are_none)
    return found


def serve(host: Host, busybox: Path, *options: str) -> None:
    host.run(
        [MIGRATE, "run", "-d", "--name", "web", "--rootfs", str(busybox), "-v", "/usr:/usr:ro",
         "-v", f"{PROGRAMS}:/programs:ro",
         "--network", "front", *options, PYTHON, "/programs/echo.py", "80"],
    )  # fmt: skip
    assert eventually(lambda: "ready" in host.run([MIGRATE, "logs", "web"]).stdout)


def move(source: Host, target: Host, *options: str) -> subprocess.CompletedProcess[str]:
    return source.run([MIGRATE, "move", "web", target.ssh_target, "--json", *options], check=False)


def seen_as(machine: Machine, address: str, port: int) -> str:
    asked = machine.run([PYTHON, PROGRAMS / "ask.py", "tcp", address, str(port)])
    return str(asked.stdout).strip()


def leases_and_containers(host: Host) -> tuple[dict[str, str], list[str]]:
    told = json.loads(host.run([MIGRATE, "network", "inspect", "front"]).stdout)
    return told["leases"], [entry["name"] for entry in told["containers"]]


class Talk:
    """Connections of the client that go on all the time."""

    def __init__(self, client: Client, *pairs: tuple[str, int]) -> None:
        words = [word for pair in pairs for word in (pair[0], str(pair[1]))]
        self._process: Any = client.popen(
            [PYTHON, PROGRAMS / "ask.py", "talk", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout.readline() == "talking\n"

    def end(self) -> list[dict[str, Any]]:
        out, _ = self._process.communicate("", timeout=40)
        found: list[dict[str, Any]] = json.loads(out)
        return found


@pytest.mark.timeout(180)
def test_connections_ports_and_leases_follow(clean, client, busybox):
    alpha, beta = clean
    before = dump(alpha)
    serve(alpha, busybox, "--ip", ADDRESS, "--ip6", ADDRESS6, "-p", "8080:80")
    assert seen_as(client, alpha.address, 8080)
    with_it = {line for line in dump(alpha) - before if "veth" not in line}
    assert any("nft rule" in line for line in with_it)
    talk = Talk(client, (ADDRESS, 80), (ADDRESS6, 80), (ADDRESS, 80))
    hosts = (alpha, beta)
    for turn in range(2):
        source, target = hosts[turn % 2], hosts[(turn + 1) % 2]
        done = move(source, target)
        assert done.returncode == 0, done.stdout + done.stderr
        if turn == 0:
            assert changes([alpha], [before]) == []
        leases, names = leases_and_containers(target)
        assert names == ["web"]
        assert set(leases) == {ADDRESS, ADDRESS6}
        assert leases_and_containers(source) == ({}, [])
        assert seen_as(client, target.address, 8080)
        assert seen_as(target, "127.0.0.1", 8080)
        with pytest.raises(AssertionError, match="ConnectionRefusedError"):
            seen_as(client, source.address, 8080)
    for told in talk.end():
        assert told["errors"] == []
        assert told["lines"] > 20


def refused(source: Host, target: Host, error: type) -> str:
    """The words of a refusal that has changed nothing on either host."""
    hosts = (source, target)
    before = [dump(host) for host in hosts]
    done = move(source, target)
    told = json.loads(done.stdout.splitlines()[-1])["error"]
    assert done.returncode == error.code, done.stderr
    assert leases_and_containers(source)[1] == ["web"]
    assert changes(hosts, before) == []
    return f"{told['what']} {told['cause']} {told['mend']}"


def test_what_the_target_can_not_offer_is_refused_by_name(clean, client, busybox):
    alpha, beta = clean
    serve(alpha, busybox, "-p", "8080:80")
    beta.run([MIGRATE, "network", "rm", "front"])
    words = refused_without_network(alpha, beta)
    assert "there is no network 'front'" in words
    command = words[words.index("migrate network create") :].split()
    beta.run([*command, "--parent", "br-lan", "--mtu", "1400"])
    assert "mtu 1400, not none" in refused_without_network(alpha, beta)
    beta.run([MIGRATE, "network", "rm", "front"])
    beta.run([*CREATE, RANGES[1]])
    with listening(beta, 8080):
        assert "port 8080/tcp" in refused(alpha, beta, PortTaken)
    leases, _ = leases_and_containers(alpha)
    address = next(a for a in leases if ":" not in a)
    beta.run([MIGRATE, "run", "-d", "--name", "holder", "--rootfs", str(busybox), "--network",
              "front", "--ip", address, "sleep", "99"])  # fmt: skip
    assert f"the address {address} is taken" in refused(alpha, beta, AddressTaken)


@contextlib.contextmanager
def listening(host: Host, port: int) -> Iterator[None]:
    server = host.popen([PYTHON, PROGRAMS / "echo.py", str(port)], stdout=-1, text=True)
    try:
        server.stdout.readline()
        yield
    finally:
        server.kill()
        server.communicate()


def refused_without_network(source: Host, target: Host) -> str:
    done = move(source, target)
    assert done.returncode == NetworkUnknown.code
    told = json.loads(done.stdout.splitlines()[-1])["error"]
    return f"{told['what']} {told['cause']} {told['mend']}"


def test_a_move_that_fails_leaves_port_and_lease_at_the_source(clean, client, busybox):
    alpha, beta = clean
    serve(alpha, busybox, "--ip", ADDRESS, "-p", "8080:80")
    talk = Talk(client, (ADDRESS, 80))
    before = [dump(host) for host in clean]
    holding.arm(beta, "restored-there")
    with alpha.popen(
        [MIGRATE, "move", "web", beta.ssh_target], stdout=-1, stderr=-1, text=True
    ) as command:
        agent = holding.wait_until_held(beta, "agent", command)
        assert ADDRESS in leases_and_containers(beta)[0]
        holding.kill([agent])
        command.communicate(timeout=60)
        assert command.returncode != 0
    beta.run([MIGRATE, "recover"], check=False)
    assert changes(clean, before) == []
    assert seen_as(client, alpha.address, 8080)
    assert leases_and_containers(beta) == ({}, [])
    (told,) = talk.end()
    assert told["errors"] == []


def test_connections_may_be_refused_or_closed_and_addresses_be_new(clean, client, busybox):
    alpha, beta = clean
    serve(alpha, busybox, "--ip", ADDRESS, "-p", "8080:80")
    talk = Talk(client, (ADDRESS, 80))
    done = move(alpha, beta, "--tcp", "refuse")
    told = json.loads(done.stdout.splitlines()[-1])["error"]
    assert "--tcp refuse" in told["what"]
    assert client.address in told["cause"]
    assert move(alpha, beta, "--tcp", "close").returncode == 0
    assert talk.end()[0]["errors"] != []
    assert seen_as(client, ADDRESS, 80) == client.address
    assert move(beta, alpha, "--tcp", "refuse", "--mode", "cold").returncode == 0
    assert eventually(lambda: alpha.run([MIGRATE, "logs", "web"]).stdout.count("ready") == 2)
    assert seen_as(client, alpha.address, 8080)
    done = move(alpha, beta, "--address", "new")
    assert done.returncode == 0, done.stdout + done.stderr
    leases, _ = leases_and_containers(beta)
    (address,) = (a for a in leases if ":" not in a)
    assert address != ADDRESS
    assert f"its address there is {address}/24" in done.stdout
    assert seen_as(client, address, 80) == client.address
    assert seen_as(client, beta.address, 8080)
    assert leases_and_containers(alpha)[0] == {}


def test_names_go_along(clean, client, busybox):
    alpha, beta = clean
    serve(alpha, busybox)
    for host, name in ((alpha, "stays"), (beta, "waits")):
        host.run([MIGRATE, "run", "-d", "--name", name, "--rootfs", str(busybox), "--network",
                  "front", "sleep", "99"])  # fmt: skip

    def known(host: Host, name: str) -> set[str]:
        lines = host.run([MIGRATE, "exec", name, "cat", "/etc/hosts"]).stdout.splitlines()
        return {line.split()[1] for line in lines[3:-1]}

    assert known(alpha, "web") == known(alpha, "stays") == {"web", "stays"}
    assert move(alpha, beta).returncode == 0
    assert known(alpha, "stays") == {"web", "stays"}
    assert known(beta, "web") == known(beta, "waits") == {"web", "stays", "waits"}
    beta.run([MIGRATE, "rm", "-f", "web"])
    assert "web" not in known(beta, "waits")
