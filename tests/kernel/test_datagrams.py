"""Unread datagrams are seen without being taken, and come to another socket as they came."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import netlink
from migrate.kernel.datagrams import Datagram, frames, sockets_with_unread, unread
from migrate.kernel.netlink import inside
from migrate.kernel.netlinkwire import Channel
from migrate.kernel.syngate import SOCK_DIAG
from tests.engine import eventually
from tests.kernel.pairs import linked

SERVER, SERVER6 = "10.213.8.1", "fd18::1"
MAC = "02:00:00:00:08:01"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A server's and a client's namespace; of one processor, on which packets keep their order."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})
    with linked(tmp_path, "10.213.8", "fd18", MAC) as made:
        yield made
    os.sched_setaffinity(0, usual)


def made(netns: Path, family: int, port: int = 0) -> socket.socket:
    with inside(netns):
        found = socket.socket(family, socket.SOCK_DGRAM)
    found.bind(("", port))
    found.settimeout(20)
    return found


def all_arrived(netns: Path, client: socket.socket, address: str) -> None:
    """Wait until all is there that this client has sent before."""
    with made(netns, socket.AF_INET6 if ":" in address else socket.AF_INET) as last:
        client.sendto(b"last", (address, last.getsockname()[1]))
        assert last.recv(10) == b"last"


def deliver(pair: tuple[Path, Path], found: list[Datagram]) -> None:
    """Out of the other end, as a host does it."""
    to = bytes.fromhex(MAC.replace(":", ""))
    with inside(pair[1]):
        for number, each in enumerate(found, 1):
            netlink.send_frames("eth0", frames(each, to, number))


CASES = [
    (socket.AF_INET, socket.AF_INET, SERVER), (socket.AF_INET6, socket.AF_INET6, SERVER6),
    (socket.AF_INET6, socket.AF_INET, SERVER),
]  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize(("family", "client_family", "address"), CASES)
def test_they_come_again(
    pair: tuple[Path, Path], family: int, client_family: int, address: str
) -> None:
    """Empty ones, and those larger than a packet, too; the first socket still has them all."""
    contents = [b"one", b"", os.urandom(5000), b"odd", os.urandom(1224), os.urandom(60_000)]
    server, client = made(pair[0], family), made(pair[1], client_family)
    port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
    with Channel(pair[0], SOCK_DIAG) as channel:
        assert inode not in sockets_with_unread(channel)
        all_arrived(pair[0], client, address)  # from now on they know each other's MAC
        for content in contents:
            client.sendto(content, (address, port))
        all_arrived(pair[0], client, address)
        assert sockets_with_unread(channel) == {inode}
        found = unread([os.getpid()], {inode})
        assert [each.content for each in found] == contents
        # An empty one is not seen twice (net/core/datagram.c, __skb_try_recv_from_queue).
        again = [each.content for each in unread([os.getpid()], {inode})]
        assert again == [content for content in contents if content]
        assert server.getsockopt(socket.SOL_SOCKET, 42) == -1
        first = [server.recvfrom(65536) for _ in contents]
        assert sockets_with_unread(channel) == set()
    server.close()
    copy = made(pair[0], family, port)
    deliver(pair, found)
    assert [copy.recvfrom(65536) for _ in contents] == first


@pytest.mark.root
def test_of_a_connected_socket_and_not_of_its_own_loopback(pair: tuple[Path, Path]) -> None:
    server, client = made(pair[0], socket.AF_INET), made(pair[1], socket.AF_INET)
    server.connect(("10.213.8.2", client.getsockname()[1]))
    client.sendto(b"hello", server.getsockname())
    inner, other = made(pair[0], socket.AF_INET), made(pair[0], socket.AF_INET)
    other.sendto(b"from within", ("127.0.0.1", inner.getsockname()[1]))
    inodes = {os.fstat(each.fileno()).st_ino for each in (server, inner)}
    with Channel(pair[0], SOCK_DIAG) as channel:
        assert eventually(lambda: sockets_with_unread(channel) == inodes)
    assert [each.content for each in unread([os.getpid()], inodes)] == [b"hello"]
    assert inner.recv(100) == b"from within"


@pytest.mark.root
def test_who_is_gone_has_nothing(pair: tuple[Path, Path]) -> None:
    server = made(pair[0], socket.AF_INET)
    inode = os.fstat(server.fileno()).st_ino
    server.close()
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert unread([ended.pid, os.getpid()], {inode}) == []


@pytest.mark.root
def test_no_more_is_kept_than_a_mebibyte(pair: tuple[Path, Path]) -> None:
    server, client = made(pair[0], socket.AF_INET), made(pair[1], socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    all_arrived(pair[0], client, SERVER)
    for _ in range(40):  # in fewer packets than wait for a processor (net.core.netdev_max_backlog)
        client.sendto(bytes(30_000), (SERVER, server.getsockname()[1]))
    all_arrived(pair[0], client, SERVER)
    inode = os.fstat(server.fileno()).st_ino
    kept = sum(len(each.content) for each in unread([os.getpid()], {inode}))
    assert 900_000 < kept <= 1 << 20
