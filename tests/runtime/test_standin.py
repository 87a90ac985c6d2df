"""The port that stands in for a container: it takes its frames, and nothing of it stays."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.runtime.networks.standin import KEPT, StandIn, deliver
from tests.engine import eventually

pytestmark = pytest.mark.root
MAC, IP, IP6 = "02:00:00:00:77:01", "10.213.9.5", "fd00:213::5"
MAC_BYTES = bytes.fromhex(MAC.replace(":", ""))


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def link() -> Iterator[tuple[str, str]]:
    """A bridge, and an interface that is plugged into it: who sends there sends to the link.

    From one processor, on which packets keep their order.
    """
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})
    bridge, end = f"sib{os.getpid()}", f"sie{os.getpid()}"
    _ip("link", "add", bridge, "type", "bridge")
    _ip("link", "add", end, "type", "veth", "peer", "name", f"{end}p")
    for name in (bridge, end, f"{end}p"):
        _ip("link", "set", name, "up")
    _ip("link", "set", f"{end}p", "master", bridge)
    yield bridge, end
    _ip("link", "del", end)
    _ip("link", "del", bridge)
    os.sched_setaffinity(0, usual)


@pytest.fixture
def sender(link: tuple[str, str]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as packet:
        packet.bind((link[1], 3))
        packet.settimeout(20)
        yield packet


def frame(number: int, mac: bytes = MAC_BYTES, size: int = 60) -> bytes:
    return (mac + b"\x02\0\0\0\0\x99\x88\xb5" + number.to_bytes(4, "big")).ljust(size, b"\0")


def numbers(frames: list[bytes]) -> list[int]:
    return [int.from_bytes(f[14:18], "big") for f in frames if f[12:14] == b"\x88\xb5"]


def standing(bridge: str) -> StandIn:
    made = StandIn(f"sis{os.getpid()}", bridge, MAC, IP, IP6)
    assert eventually(lambda: forwards(bridge))
    return made


def forwards(bridge: str) -> bool:
    """Whether both ports do (BR_STATE_FORWARDING, include/uapi/linux/if_bridge.h)."""
    states = [path.read_text() for path in Path(f"/sys/class/net/{bridge}").glob("brif/*/state")]
    return states == ["3\n"] * 2


def taken(stand_in: StandIn, last: int) -> list[bytes]:
    """All frames up to the one with this number."""
    found: list[bytes] = []
    assert eventually(lambda: found.extend(stand_in.frames()) or last in numbers(found))
    return found


def test_it_takes_what_comes_for_the_container_alone(link, sender) -> None:
    stand_in = standing(link[0])
    try:
        stand_in.take_over()
        for number in range(300):
            sender.send(frame(number))
            sender.send(frame(number, mac=b"\x02\0\0\0\0\x55"))
        sender.send(frame(300))  # behind all of them
        assert numbers(taken(stand_in, 300)) == list(range(301))
        assert stand_in.frames() == []
    finally:
        stand_in.close()
    assert stand_in.frames() == []
    assert not Path(f"/sys/class/net/sis{os.getpid()}").exists()


def test_it_tells_the_link_who_has_the_address(link, sender) -> None:
    stand_in = standing(link[0])
    try:
        stand_in.take_over()
        told = []
        while len(told) < 2:
            data = sender.recv(2048)
            if data[12:14] == b"\x08\x06" and data[6:12] == MAC_BYTES:
                told.append(data[28:32])
        assert told == [socket.inet_aton(IP)] * 2
    finally:
        stand_in.close()


def test_it_tells_ipv6_neighbours_too(link, sender) -> None:
    stand_in = standing(link[0])
    try:
        stand_in.take_over()
        while True:
            data = sender.recv(2048)
            if data[12:14] == b"\x86\xdd" and data[54] == 136 and data[6:12] == MAC_BYTES:
                assert data[62:78] == socket.inet_pton(socket.AF_INET6, IP6)
                return
    finally:
        stand_in.close()


def test_who_asks_for_its_addresses_is_kept_as_well(link, sender) -> None:
    other = b"\x02\0\0\0\0\x99"
    ask = (
        b"\xff" * 6 + other + b"\x08\x06" + bytes.fromhex("0001080006040001") + other
        + socket.inet_aton("10.213.9.9") + bytes(6)
    )  # fmt: skip
    head = b"\x33\x33\xff\0\0\5" + other + b"\x86\xdd" + bytes.fromhex("6000000000203aff")
    solicit = head + bytes(32) + b"\x87" + bytes(7)
    asked = [
        ask + socket.inet_aton(IP), solicit + socket.inet_pton(socket.AF_INET6, IP6) + bytes(8)
    ]  # fmt: skip
    else_asked = [
        ask + socket.inet_aton("10.213.9.6"),
        solicit + socket.inet_pton(socket.AF_INET6, "fd00:213::6") + bytes(8),
    ]
    stand_in = standing(link[0])
    try:
        for one in (*asked, *else_asked):
            sender.send(one)
        sender.send(frame(7))
        kept = [f for f in taken(stand_in, 7) if f[6:12] == other]
        assert [f for f in kept if not numbers([f])] == asked
    finally:
        stand_in.close()


def test_it_keeps_no_more_than_it_may(link, sender) -> None:
    stand_in = standing(link[0])
    try:
        for number in range(KEPT // 1500 + 200):
            sender.send(frame(number, size=1500))
        kept = stand_in.frames()
        assert sum(map(len, kept)) <= KEPT + 1500
        assert numbers(kept) == list(range(len(kept)))
    finally:
        stand_in.close()


def test_what_was_kept_is_delivered(link, sender) -> None:
    deliver(f"{link[1]}p", [frame(number) for number in range(50)])
    found = []
    while len(found) < 50:
        found += numbers([sender.recv(2048)])
    assert found == list(range(50))
    deliver("no-such-port", [frame(1)])


def test_where_there_is_no_bridge_nothing_is_left() -> None:
    with pytest.raises(OSError, match="No such device"):
        standing("no-such-bridge")
    assert not Path(f"/sys/class/net/sis{os.getpid()}").exists()
