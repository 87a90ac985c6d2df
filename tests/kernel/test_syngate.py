"""New connections wait at the gate, others pass."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import netlink
from migrate.kernel.closednetns import ClosedNamespace
from migrate.kernel.netlink import inside
from migrate.kernel.netlinkwire import Channel
from migrate.kernel.nftables import tables
from migrate.kernel.syngate import SOCK_DIAG, TABLE, Gate, checked, unaccepted
from tests.engine import eventually
from tests.kernel.pairs import linked

pytestmark = [pytest.mark.root]
SERVER, SERVER6 = "10.213.9.1", "fd13::1"
LONG = 20.0  # seconds


SILENT = """
table inet silent {
  chain out { type filter hook output priority 0; tcp flags & (syn | ack) == syn drop; }
}
"""


def _ports(frames: list[bytes]) -> set[int]:
    """Of those who have sent them, by IPv4 without options or by IPv6."""
    places = (34 if frame[12:14] == b"\x08\0" else 54 for frame in frames)
    return {int.from_bytes(f[at : at + 2], "big") for f, at in zip(frames, places, strict=True)}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A server's and a client's namespace."""
    with linked(tmp_path, "10.213.9", "fd13") as made:
        yield made


def connecting(client: Path, address: str, port: int, limit: float = 0.1) -> socket.socket:
    """`limit`: seconds that the other side's answer is waited for."""
    with inside(client):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.settimeout(limit)
    with contextlib.suppress(TimeoutError):
        made.connect((address, port))
    return made


def test_who_knocks_is_kept_and_let_in_later(pair: tuple[Path, Path]) -> None:
    server, client = pair
    with inside(server):
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        port = listener.getsockname()[1]
    with listener, Channel(server, SOCK_DIAG) as diagnosis:
        assert unaccepted(diagnosis) == 0
        with connecting(client, SERVER, port, LONG):
            assert eventually(lambda: unaccepted(diagnosis) == 1)
            first, _ = listener.accept()
            assert unaccepted(diagnosis) == 0
            gate = Gate(server, "eth0")
            others = [connecting(client, address, port) for address in (SERVER, SERVER6)]
            frames: list[bytes] = []
            assert eventually(lambda: frames.extend(gate.frames()) or len(_ports(frames)) == 2)
            assert unaccepted(diagnosis) == 0
            first.send(b"goes on")
            # From now on no first packet comes but those that were kept: it would be sent again.
            subprocess.run(["nsenter", f"--net={client}", "nft", "-f", "-"], input=SILENT,
                           text=True, check=True)  # fmt: skip
            frames += gate.frames()
            assert _ports(frames) == {other.getsockname()[1] for other in others}
            assert gate.frames() == []
            gate.open()
            with inside(server):
                assert tables(1) == []
            with inside(client):
                netlink.send_frames("eth0", frames)
            for _ in others:
                listener.settimeout(LONG)
                listener.accept()[0].close()
            first.close()
            for other in others:
                other.close()


def test_it_ends_with_whoever_has_made_it(pair: tuple[Path, Path]) -> None:
    """Nobody else can take it away, but the kernel does when its maker was killed."""
    server, _ = pair
    gate = Gate(server, "eth0")
    with inside(server):
        assert tables(1) == [TABLE]
    gate.close()
    with inside(server):
        assert eventually(lambda: tables(1) == [])


def test_a_checksum_that_is_right_stays() -> None:
    """As Linux made it: a SYN of IPv4 from 10.0.0.1 to 10.0.0.2, computed by hand."""
    ip = bytes.fromhex("4500002800000000400600000a0000010a000002")
    tcp = bytes.fromhex("04d2005000000001000000005002020000000000")
    frame = bytes(12) + b"\x08\0" + ip + tcp
    words = ip[12:20] + b"\0\x06\0\x14" + tcp
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    wanted = 0xFFFF - (total + (total >> 16) & 0xFFFF)
    assert checked(frame)[50:52] == wanted.to_bytes(2, "big")
    assert checked(checked(frame)) == checked(frame)


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_who_is_on_the_way_is_counted(pair: tuple[Path, Path], address: str) -> None:
    """The client does not hear the answer to its first packet: SYN-RECV at the server."""
    server, client = pair
    with inside(server):
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        listener.setblocking(False)
    port = listener.getsockname()[1]
    connecting(client, address, port, LONG).close()  # they know each other's MAC
    assert eventually(lambda: _accepted(listener))
    closed = ClosedNamespace(client, 0x1234)
    with listener, Channel(server, SOCK_DIAG) as diagnosis:
        with connecting(client, address, port):
            assert eventually(lambda: unaccepted(diagnosis) == 1)
            assert not _accepted(listener)
            closed.open()
            assert eventually(lambda: _accepted(listener))
        closed.remove()
        assert unaccepted(diagnosis) == 0


def _accepted(listener: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False
