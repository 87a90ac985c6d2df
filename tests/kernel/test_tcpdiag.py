"""A loopback of its own, on which packets are dropped."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import netns
from migrate.kernel.netlink import inside
from migrate.kernel.tcpdiag import Connection, repetitions
from tests.engine import eventually

pytestmark = [pytest.mark.root]
DROPPING = """
table inet dropping {
  chain incoming { type filter hook input priority 0; policy drop; }
}
"""


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "alone"
    netns.create(path)
    run = ["nsenter", f"--net={path}"]
    subprocess.run([*run, "ip", "link", "set", "lo", "up"], check=True)
    yield path
    netns.delete(path)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_is_not_acknowledged_is_told(namespace: Path, address: str) -> None:
    """sshd listens on both families with one socket, and tells IPv4 addresses as such."""
    with inside(namespace):
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        client = socket.create_connection((address, listener.getsockname()[1]), 20)
        server, _ = listener.accept()
        with listener, client, server:
            ports = listener.getsockname()[1], client.getsockname()[1]
            of_server = Connection(address, ports[0], address, ports[1])
            server.send(b"arrives")
            assert eventually(lambda: repetitions(of_server) == 0)
            nft = ["nsenter", f"--net={namespace}", "nft"]
            subprocess.run([*nft, "-f", "-"], input=DROPPING, text=True, check=True)
            server.send(b"does not")
            assert eventually(lambda: repetitions(of_server) >= 2)
            subprocess.run([*nft, "delete", "table", "inet", "dropping"], check=True)
            assert eventually(lambda: repetitions(of_server) == 0)


def test_no_connection_and_no_address(namespace: Path) -> None:
    with inside(namespace), pytest.raises(OSError, match="No such file"):
        repetitions(Connection("127.0.0.1", 1, "127.0.0.1", 2))
    with pytest.raises(ValueError, match="does not appear"):
        repetitions(Connection("fe80::1%eth0 ", 1, "nonsense", 2))
