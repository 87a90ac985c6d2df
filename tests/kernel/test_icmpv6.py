"""The frames of neighbour discovery."""

from __future__ import annotations

import ipaddress
import socket

from migrate.kernel import icmpv6

MAC = bytes.fromhex("020000000001")
ADDRESS = "fd00:77::50"


def test_an_advertisement_is_as_the_specification_has_it():
    frame = icmpv6.unsolicited_advertisement(MAC, ADDRESS)
    assert frame[:14] == bytes.fromhex("333300000001") + MAC + b"\x86\xdd"
    assert frame[14:22] == bytes.fromhex("60000000 0020 3a ff")
    assert ipaddress.ip_address(frame[22:38]) == ipaddress.ip_address(ADDRESS)
    assert frame[54:56] == b"\x88\0"
    assert frame[58] == 0x20  # override, not solicited, no router
    assert frame[78:] == b"\x02\x01" + MAC
    pseudo = frame[22:54] + (32).to_bytes(4, "big") + (58).to_bytes(4, "big") + frame[54:]
    total = sum(int.from_bytes(pseudo[n : n + 2], "big") for n in range(0, len(pseudo), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_a_solicitation_is_told_from_all_else():
    target = socket.inet_pton(socket.AF_INET6, ADDRESS)
    head = b"\x33\x33\xff\x00\x00\x50" + MAC + b"\x86\xdd" + bytes.fromhex("60000000 0020 3a ff")
    asking = head + bytes(32) + b"\x87\0\0\0\0\0\0\0" + target + b"\x01\x01" + MAC
    assert icmpv6.solicits(asking, target)
    assert not icmpv6.solicits(asking, target[:-1] + b"\x51")
    assert not icmpv6.solicits(icmpv6.unsolicited_advertisement(MAC, ADDRESS), target)
    assert not icmpv6.solicits(asking[:60], target)
