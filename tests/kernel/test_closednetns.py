"""A network namespace that takes nothing in, and then does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import netns
from migrate.kernel.closednetns import ClosedNamespace
from migrate.kernel.netlink import inside
from migrate.kernel.nftables import tables
from tests.engine import eventually

pytestmark = [pytest.mark.root]
MARK = 0x1234
_INET = 1  # NFPROTO_INET


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "net"
    netns.create(path)
    yield path
    netns.delete(path)


def arrives(namespace: Path, mark: int = 0) -> bool:
    """Whether a datagram comes through lo, IPv4."""
    with inside(namespace):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.05)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sender.sendto(b"x", receiver.getsockname())
        try:
            return receiver.recv(1) == b"x"
        except TimeoutError:
            return False


def test_it_is_closed_but_for_the_mark_until_it_is_opened(namespace: Path) -> None:
    assert eventually(lambda: arrives(namespace))
    for _ in range(2):
        closed = ClosedNamespace(namespace, MARK)
        assert not arrives(namespace)
        assert eventually(lambda: arrives(namespace, MARK))
        closed.open()
        assert eventually(lambda: arrives(namespace))
        closed.remove()
        with inside(namespace):
            assert tables(_INET) == []
    assert eventually(lambda: arrives(namespace))


def test_let_go_of_it_stays_closed(namespace: Path) -> None:
    ClosedNamespace(namespace, MARK).close()
    assert not arrives(namespace)


def test_a_namespace_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ClosedNamespace(tmp_path / "nothing", MARK)
