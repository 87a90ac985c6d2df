"""Networks: host and bridge, and that nothing is made in the wrong namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.subnet import SUBNET

pytestmark = pytest.mark.root


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def bridge() -> Iterator[str]:
    name = f"mgt{os.getpid()}"
    _ip("link", "add", name, "type", "bridge")
    _ip("addr", "add", f"{SUBNET}.1/24", "dev", name)
    _ip("link", "set", name, "up")
    yield name
    _ip("link", "del", name)


def test_the_host_network_is_the_hosts(engine: Engine):
    done = engine.once("--network", "host", "sh", "-c", "readlink /proc/self/ns/net; ip -o link")
    assert done.stdout.splitlines()[0] == os.readlink("/proc/self/ns/net")


def test_a_bridge_port_has_the_given_address_and_mac(engine: Engine, bridge: str):
    before = {p.name for p in Path("/sys/class/net").iterdir()}
    identifier = engine.detached(
        "--network", "bridge", "--bridge", bridge, "--ip", f"{SUBNET}.5/24",
        "--mac", "02:aa:bb:cc:dd:05", "--gateway", f"{SUBNET}.1", "--name", "five", "sleep", "100",
    )  # fmt: skip
    inside = engine.ok("exec", "five", "sh", "-c", "ip -o addr show eth0; ip link show eth0; ip r")
    assert f"inet {SUBNET}.5/24" in inside
    assert "link/ether 02:aa:bb:cc:dd:05" in inside
    assert f"default via {SUBNET}.1" in inside
    added = {p.name for p in Path("/sys/class/net").iterdir()} - before
    assert {name for name in added if identifier in name or name == "eth0"} == {f"mg{identifier}"}
    assert f"{SUBNET}.5" not in _ip("-o", "addr")
    port = Path(f"/sys/class/net/mg{identifier}/master").resolve().name
    assert port == bridge
    engine.ok("exec", "five", "ping", "-c1", "-W20", f"{SUBNET}.1")
    text = engine.fails("run", "-d", "--rootfs", engine.rootfs, "--network", "bridge", "--bridge",
                        bridge, "--ip", f"{SUBNET}.5/24", "sleep", "1", code=43)  # fmt: skip
    assert "five" in text
    engine.ok("rm", "-f", "five")
    assert not Path(f"/sys/class/net/mg{identifier}").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--bridge", "no-such-br"), "no bridge"),
        (("--ip", "10.0.0.300/24"), "no address"),
        (("--mac", "junk"), "no MAC"),
        (("--ip", "10.1.2.3/24", "--gateway", "10.9.9.9"), "can't be reached"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(engine, bridge, options, words):
    given = options if "--bridge" in options else ("--bridge", bridge, *options)
    text = engine.fails("run", "--rootfs", engine.rootfs, "--network", "bridge", *given, "true",
                        code=42)  # fmt: skip
    assert words in text
    assert engine.ok("ps", "-aq") == "", "something is left"


def test_many_at_once_get_addresses_of_their_own(engine: Engine, bridge: str):
    processes = [
        engine.start("run", "-d", "--rootfs", engine.rootfs, "--network", "bridge",
                     "--bridge", bridge, "sleep", "100")
        for _ in range(5)
    ]  # fmt: skip
    done = [process.communicate(timeout=60) for process in processes]
    assert [p.returncode for p in processes] == [0] * 5, done
    addresses = {engine.status(out.strip())["address"] for out, _error in done}
    assert len(addresses) == 5
    engine.ok("rm", "-f", *(out.strip() for out, _error in done))
