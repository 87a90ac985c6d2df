"""What comes from elsewhere is checked before the kernel sees it."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from migrate.checkpoint.netns.contents import MOST_LINKS, Contents, added, check
from migrate.kernel.conntrack import Connection
from migrate.kernel.links import Link
from migrate.kernel.netlinkwire import pack
from migrate.kernel.netobjects import Object
from migrate.kernel.ruleset import Entry
from migrate.runtime.records import Network

MAC = b"\2\0\0\0\0\5"
ROUTE = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 3, 0, 1, 0)
DEFAULT = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)


def link(name: str = "br0", **more: Any) -> Link:
    found: dict[str, Any] = {
        "index": 5, "name": name, "kind": "bridge", "mac": MAC, "mtu": 1500, "queue": 0, "flags": 1
    }  # fmt: skip
    return Link(**found | more)


def table(name: bytes = b"own\0", family: int = 2, **more: Any) -> Entry:
    return Entry(more.get("part", 0), family, pack([(1, name), *more.get("attributes", [])]))


def test_what_is_usual_passes_and_survives_the_way() -> None:
    found = Contents(
        {"ipv4/ip_forward": "1", "ipv4/conf/eth0.7/rp_filter": "2"}, (link(),),
        {"route": (Object(ROUTE, pack([(1, bytes(4))])),)}, (table(),),
    )  # fmt: skip
    check(found)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Contents) == found


@pytest.mark.parametrize("found", [
    Contents(settings={"../kernel/panic": "1"}),
    Contents(settings={"ipv4/../../kernel/panic": "1"}),
    Contents(settings={"kernel/panic": "1"}),
    Contents(settings={"ipv4/route/flush": "1"}),
    Contents(settings={"ipv4/ip_forward": "1\n0"}),
    Contents(settings={"ipv4/ip_forward": "1" * 5000}),
    Contents(links=(link(kind="wireguard"),)),
    Contents(links=(link(name="../x"),)),
    Contents(links=(link(name="a" * 16),)),
    Contents(links=(link(name=""),)),
    Contents(links=(link(index=0),)),
    Contents(links=(link(flags=1 << 20),)),
    Contents(links=(link(options=pack([(200, b"")])),)),
    Contents(links=(link(options=b"\1\0"),)),
    Contents(links=(link(port_kind="bond"),)),
    Contents(links=(link(), link(index=6))),
    Contents(links=tuple(link(name=f"b{n}", index=n + 9) for n in range(MOST_LINKS + 1))),
    Contents(objects={"link": ()}),
    Contents(objects={"route": (Object(b"", b""),)}),
    Contents(objects={"route": (Object(ROUTE, pack([(22, b"")])),)}),
    Contents(objects={"rule": (Object(b"\x80" + bytes(11), b""),)}),
    Contents(ruleset=(table(b"migrate-closed\0"),)),
    Contents(ruleset=(table(family=77),)),
    Contents(ruleset=(table(part=2),)),
    Contents(ruleset=(table(attributes=[(7, bytes(4))]),)),
    Contents(ruleset=(table(b"x" * 65000),) * 60),
    Contents(connections=(Connection(1, b""),)),
    Contents(connections=(Connection(2, pack([(14, b"")])),)),
])  # fmt: skip
def test_what_nobody_honest_sends_is_refused(found: Contents) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check(found)


def test_what_is_beyond_the_drivers_own_is_told() -> None:
    network = Network("bridge", address="10.0.0.5/24", gateway="10.0.0.1")
    own = Object(struct.pack("=BBBBI", 2, 24, 0, 0, 2), pack([(2, bytes([10, 0, 0, 5]))]))
    usual = Contents(
        {"ipv6/conf/eth0/accept_dad": "0"}, (link("lo", kind="", index=1), link("eth0", index=2)),
        {"address": (own,), "route": (Object(DEFAULT, pack([(5, bytes([10, 0, 0, 1]))])),)},
    )  # fmt: skip
    assert list(added(usual, network)) == []
    more = Contents(
        {"ipv4/ip_forward": "1"}, (*usual.links, link()),
        {**usual.objects, "route": (Object(ROUTE, pack([(1, bytes(4))])),)}, (table(),),
    )  # fmt: skip
    assert list(added(more, network)) == [
        "nftables rules", "interfaces (br0)", "settings (net.ipv4.ip_forward)", "routes"
    ]  # fmt: skip
