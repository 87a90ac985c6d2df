"""What of rtnetlink's messages is kept, and how it is put to other interfaces."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from migrate.kernel.netlinkwire import Message, pack, unpack
from migrate.kernel.netobjects import ADDRESS, NEIGHBOUR, ROUTE, NotKnown, Object

NODAD, PERMANENT, TENTATIVE, NOPREFIX = 0x02, 0x80, 0x40, 0x200
PROTO, FLAGS, CACHEINFO = 11, 8, 6


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def address(text: str, flags: int = PERMANENT, *more: tuple[int, bytes]) -> Message:
    family = 10 if ":" in text else 2
    header = struct.pack("=BBBBI", family, 64, flags & 0xFF, 0, 3)
    return Message(20, header, ((1, packed(text)), (FLAGS, struct.pack("=I", flags)), *more))


def route(protocol: int = 3, *attributes: tuple[int, bytes], flags: int = 0) -> Message:
    header = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, protocol, 0, 1, flags)
    return Message(24, header, ((1, packed("10.9.0.0")), *attributes))


def test_addresses_that_somebody_has_added_are_kept_without_what_only_the_kernel_says() -> None:
    told = address("fd00::1", PERMANENT | TENTATIVE | NOPREFIX, (CACHEINFO, bytes(16)))
    made = ADDRESS.object_of(told)
    assert made is not None
    kept = dict(unpack(made.attributes))
    assert kept == {1: packed("fd00::1"), FLAGS: struct.pack("=I", NODAD | NOPREFIX)}
    assert ADDRESS.object_of(address("fd00::1", PERMANENT | NOPREFIX)) == made


@pytest.mark.parametrize("told", [
    address("fe80::1", PERMANENT, (PROTO, b"\3")), address("127.0.0.1", PERMANENT, (PROTO, b"\1")),
    address("fd00::5", 0),  # of a router's advertisement: it has a time
])  # fmt: skip
def test_addresses_of_the_kernel_are_none(told: Message) -> None:
    assert ADDRESS.object_of(told) is None


def test_a_kernel_that_does_not_say_which_are_its_own_loses_none() -> None:
    for text, may_be in (("127.0.0.1", True), ("::1", True), ("fe80::5", True),
                         ("fd00::1", False), ("10.0.0.1", False)):  # fmt: skip
        made = ADDRESS.object_of(address(text))
        assert made is not None
        assert ADDRESS.is_of_old_kernels(made) is may_be


def test_routes_lead_to_interfaces_by_their_new_numbers() -> None:
    hop = struct.pack("=HBBi", 16, 16, 1, 3) + pack([(5, packed("10.0.0.9"))])
    made = ROUTE.object_of(route(3, (9, hop + hop), flags=16))
    assert made is not None
    elsewhere = ROUTE.renumbered(made, {3: 7})
    (_, ways) = unpack(elsewhere.attributes)[1]
    assert ways == (struct.pack("=HBBi", 16, 0, 1, 7) + pack([(5, packed("10.0.0.9"))])) * 2
    by_interface = ROUTE.object_of(route(3, (4, struct.pack("=I", 3))))
    assert by_interface is not None
    assert dict(unpack(ROUTE.renumbered(by_interface, {3: 7}).attributes))[4] == b"\7\0\0\0"
    with pytest.raises(ValueError, match="no interface 3"):
        ROUTE.renumbered(by_interface, {})


def test_routes_of_the_kernel_are_none_and_what_can_not_be_put_in_is_named() -> None:
    assert [ROUTE.object_of(route(protocol)) for protocol in (1, 2, 9)] == [None] * 3
    with pytest.raises(NotKnown, match="encapsulation"):
        ROUTE.object_of(route(3, (22, b"")))
    with pytest.raises(NotKnown, match="nexthop object"):
        ROUTE.object_of(route(3, (30, bytes(4))))
    with pytest.raises(NotKnown, match="attribute 99"):
        ROUTE.object_of(route(3, (99, b"")))


def test_neighbours_that_were_learned_are_none() -> None:
    def told(state: int, flags: int) -> Message:
        header = struct.pack("=BxHiHBB", 2, 0, 3, state, flags, 1)
        return Message(28, header, ((1, packed("10.0.0.9")),))

    assert NEIGHBOUR.object_of(told(0x02, 0)) is None
    assert NEIGHBOUR.object_of(told(0x80, 0)) is not None
    proxy = NEIGHBOUR.object_of(told(0, 0x08))
    assert proxy is not None
    assert NEIGHBOUR.renumbered(proxy, {3: 4}).header[4:8] == b"\4\0\0\0"


def test_what_has_another_shape_is_refused() -> None:
    for made in (Object(b"", b""), Object(bytes(12), b""), Object(b"\2" + bytes(11), b"\1")):
        with pytest.raises(ValueError, match=r"header|attribute"):
            ROUTE.check(made)
