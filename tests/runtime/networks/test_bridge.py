"""A bridge network on one host: ways in and out, IPv6, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.host import Client, Machine
from tests.hosts.netdump import await_ipv6, macs, netdump
from tests.hosts.redis import MIGRATE
from tests.rootfs import busybox_rootfs

pytestmark = [pytest.mark.root, pytest.mark.hosts]
PROGRAMS = Path(__file__).parent / "programs"
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def busybox(lan: Lan) -> Path:
    """A root file system where all hosts see it, for which /usr is this machine's."""
    root = busybox_rootfs(lan.shared / "busybox")
    for name in ("lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    return root


@pytest.fixture(scope="module")
def outside(lan: Lan) -> Client:
    made = lan.client()
    made.run(["ip", "addr", "add", "fd00:77::200/64", "dev", "eth0", "nodad"])
    return made


@pytest.fixture(scope="module")
def host(lan: Lan) -> Host:
    made = lan.host("alpha")
    made.run(["ip", "addr", "add", "fd00:77::2/64", "dev", "br-lan", "nodad"])
    # That the host forwards is what stays of its first network.
    made.run([MIGRATE, "network", "create", "first", "--subnet6", "fd00:1::/64"])
    made.run([MIGRATE, "network", "rm", "first"])
    await_ipv6(made)
    MACHINES.update(macs(lan))
    return made


MACHINES: set[str] = set()
"""The MAC addresses of all machines here."""


def dump(host: Host) -> set[str]:
    return netdump(host, frozenset(MACHINES))


@pytest.fixture
def network(host: Host, outside: Client) -> Iterator[str]:
    """A network, whose removal leaves the host as it was."""
    before = dump(host)
    host.run([MIGRATE, "network", "create", "inner", "--subnet", "10.89.3.0/24",
              "--subnet6", "fd00:89::/64"])  # fmt: skip
    yield "inner"
    for name in status(host):
        host.run([MIGRATE, "rm", "-f", name])
    host.run([MIGRATE, "network", "rm", "inner"])
    assert eventually(lambda: dump(host) == before), dump(host) ^ before


def run(host: Host, busybox: Path, *words: str, name: str = "web", check: bool = True) -> str:
    """A container with this machine's Python and the programs of the tests."""
    done = host.run(
        [MIGRATE, "run", "-d", "--name", name, "--rootfs", str(busybox), "-v", "/usr:/usr:ro",
         "-v", f"{PROGRAMS}:/programs:ro", *words],
        check=check,
    )  # fmt: skip
    return str(done.stdout if check else done.stderr)


def serve(host: Host, busybox: Path, *options: str, name: str = "web") -> None:
    run(host, busybox, *options, PYTHON, "/programs/echo.py", "80", name=name)
    await_server(host, name)


@contextlib.contextmanager
def listening(machine: Machine, port: int) -> Iterator[None]:
    server = machine.popen([PYTHON, PROGRAMS / "echo.py", str(port)], stdout=-1, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        yield
    finally:
        server.kill()
        server.communicate()


def await_server(host: Host, name: str = "web", starts: int = 1) -> None:
    """Its log has all of its starts."""
    assert eventually(
        lambda: host.run([MIGRATE, "logs", name]).stdout.split().count("ready") == starts
    )


def status(host: Host) -> dict[str, dict[str, str]]:
    rows = json.loads(host.run([MIGRATE, "ps", "-a", "--json"]).stdout)
    return {row["name"]: row for row in rows}


def seen_as(machine: Machine, protocol: str, address: str, port: int) -> str:
    return str(
        machine.run([PYTHON, PROGRAMS / "ask.py", protocol, address, str(port)]).stdout
    ).strip()


def test_ways_in_and_out_and_nothing_left(host, outside, network, busybox):
    before = dump(host)
    serve(host, busybox, "--network", network, "-p", "8080:80", "-p", "8080:80/udp",
          "-p", f"{host.address}:8081:80", "-p", "127.0.0.1:8082:80",
          "-p", "[::1]:8083:80")  # fmt: skip
    for protocol in ("tcp", "udp"):
        assert seen_as(outside, protocol, host.address, 8080) == outside.address
        assert seen_as(outside, protocol, "fd00:77::2", 8080) == "fd00:77::200"
        assert seen_as(host, protocol, "127.0.0.1", 8080) == "10.89.3.1"
        assert seen_as(host, protocol, host.address, 8080) == host.address
        assert seen_as(host, protocol, "fd00:77::2", 8080)
    assert seen_as(outside, "tcp", host.address, 8081) == outside.address
    assert seen_as(host, "tcp", "127.0.0.1", 8082) == "10.89.3.1"
    for port in (8082, 8083, 80):
        with pytest.raises(AssertionError, match="ConnectionRefusedError"):
            seen_as(outside, "tcp", host.address, port)
    # Itself by the host's address, and outside as the host.
    inside = [MIGRATE, "exec", "web", PYTHON, "/programs/ask.py", "tcp"]
    assert host.run([*inside, host.address, "8080"]).stdout.strip() == "10.89.3.1"
    with listening(outside, 7):
        assert host.run([*inside, outside.address, "7"]).stdout.strip() == host.address
        assert host.run([*inside, "fd00:77::200", "7"]).stdout.strip() == "fd00:77::2"
    local = ["cat", "/proc/sys/net/ipv4/conf/mb-inner/route_localnet"]
    assert host.run(local).stdout == "1\n"
    host.run([MIGRATE, "rm", "-f", "web"])
    assert host.run(local).stdout == "0\n"
    assert eventually(lambda: dump(host) == before), dump(host) ^ before


def test_what_can_not_be_published_is_refused_by_name(host, network, busybox):
    serve(host, busybox, "--network", network, "-p", "8080:80")
    before = dump(host)
    for options, words in [
        (("-p", "8080:1"), "container 'web' publishes it"),
        (("-p", "10.77.0.2:8080:1"), "container 'web' publishes it"),
        (("-p", "22:80"), "a program of this host listens there"),
        (("-p", "10.0.0.9:8088:80"), "has no address 10.0.0.9"),
        (("-p", "9000:80", "-p", "9000:81"), "published twice"),
        (("--ip", "10.89.3.2"), "container 'web' on this host has it"),
    ]:
        told = run(host, busybox, "--network", network, *options, "true", name="two", check=False)
        assert words in told
    assert eventually(lambda: dump(host) == before), dump(host) ^ before
    assert set(status(host)) == {"web"}
    told = host.run([MIGRATE, "network", "rm", network], check=False).stderr
    assert "in use" in told
    assert "by web" in told
    host.run([MIGRATE, "rm", "-f", "web"])


def test_limits_of_bandwidth(host, outside, network, busybox):
    run(
        host, busybox, "--network", network, "--rate-in", "100m", "--rate-out", "20m", "sleep", "99"
    )
    queues = host.run(["tc", "qdisc"]).stdout
    assert "rate 100Mbit" in queues
    netns = host.run(["sh", "-c", "ls /run/migrate/netns/*"]).stdout.strip()
    assert "rate 20Mbit" in host.run(["nsenter", f"--net={netns}", "tc", "qdisc"]).stdout
    with listening(outside, 7):
        inside = [MIGRATE, "exec", "web", PYTHON, "/programs/ask.py", "time", outside.address, "7"]
        seconds = float(host.run([*inside, str(1 << 20)]).stdout)
    # What is above the bucket's 128 KiB, at 20 Mbit/s there and 100 back.
    least = ((1 << 20) - (128 << 10)) * 8 * (1 / 20e6 + 1 / 100e6)
    assert least * 0.9 < seconds < 20 * least
    host.run([MIGRATE, "rm", "-f", "web"])


def test_after_a_reboot_the_network_is_made_again(lan, outside, busybox):
    host = lan.host("beta")
    MACHINES.update(macs(lan))
    host.run([MIGRATE, "network", "create", "inner"])
    serve(host, busybox, "--network", "inner", "-p", "8080:80")
    address = status(host)["web"]["address"]
    host.reboot()
    MACHINES.update(macs(lan))
    run(host, busybox, "--network", "inner", "sleep", "99", name="other")
    host.run([MIGRATE, "start", "web"])
    found = status(host)
    assert found["web"]["address"] == address != found["other"]["address"]
    await_server(host, starts=2)
    assert seen_as(outside, "tcp", host.address, 8080) == outside.address
    host.run([MIGRATE, "rm", "-f", "web", "other"])


def test_many_at_once_get_addresses_of_their_own(host, network, busybox):
    started = [
        host.popen([MIGRATE, "run", "-d", "--rootfs", str(busybox), "--network", network,
                    "sleep", "99"], stdout=-1, text=True)
        for _ in range(5)
    ]  # fmt: skip
    ids = [one.communicate(timeout=60)[0].strip() for one in started]
    leases = json.loads(host.run([MIGRATE, "network", "inspect", network]).stdout)["leases"]
    assert len([a for a in leases if ":" not in a]) == 5
    assert set(leases.values()) == set(ids)
    host.run([MIGRATE, "rm", "-f", *ids])
    assert json.loads(host.run([MIGRATE, "network", "inspect", network]).stdout)["leases"] == {}


def test_a_parent_becomes_a_port_and_is_given_back(host, busybox):
    before = dump(host)
    host.run(["ip", "link", "add", "nic0", "type", "veth", "peer", "name", "cable"])
    host.run(["ip", "link", "set", "cable", "up"])
    create = [MIGRATE, "network", "create", "lan", "--subnet", "10.90.0.0/24"]

    def refused(*options: str) -> str:
        return str(host.run([*create, *options], check=False).stderr)

    assert "belongs to 'br-lan'" in refused("--parent", "eth0")
    assert "no interface 'nic9'" in refused("--parent", "nic9")
    host.run(["ip", "addr", "add", "10.90.0.7/24", "dev", "nic0"])
    assert "has addresses of this host" in refused("--parent", "nic0")
    host.run(["ip", "addr", "flush", "dev", "nic0"])
    host.run([*create, "--parent", "nic0", "--mtu", "1400"])
    run(host, busybox, "--network", "lan", "sleep", "99")
    assert "master mb-lan" in host.run(["ip", "link", "show", "nic0"]).stdout
    assert "10.90.0." not in host.run(["ip", "addr", "show", "mb-lan"]).stdout
    inside = host.run([MIGRATE, "exec", "web", "ip", "addr", "show", "eth0"]).stdout
    assert "mtu 1400" in inside
    assert "10.90.0.1/24" in inside
    host.run([MIGRATE, "rm", "-f", "web"])
    host.run([MIGRATE, "network", "rm", "lan"])
    assert "master" not in host.run(["ip", "link", "show", "nic0"]).stdout
    host.run(["ip", "link", "del", "nic0"])
    assert eventually(lambda: dump(host) == before), dump(host) ^ before
