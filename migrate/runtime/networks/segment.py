"""The segment of an overlay network on this host: a VXLAN device as a port of the network's bridge.

The bridge answers its ports' ARP requests and neighbour solicitations out of its own table (the
port's `neigh_suppress`: bridge(8)), and the device sends each frame to the one host that has its
MAC address. Only what neither knows is sent to all peers.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.kernel import netlink, rtnetlink
from migrate.runtime.networks.underlay import Underlay

OVERHEAD = 50
"""Bytes that VXLAN takes of the underlay's MTU: inner Ethernet, VXLAN, UDP, IPv4 (RFC 7348, 5)."""
OVERHEAD6 = 70
PORT = 4789
HIGHEST_VNI = (1 << 24) - 1


@dataclass(frozen=True)
class Segment:
    """Its VNI is the same on all hosts; the bridge is there already."""

    vni: int
    bridge: str

    @property
    def device(self) -> str:
        """The VXLAN device's name."""
        return f"mv-{self.vni}"

    @property
    def exists(self) -> bool:
        """Whether this host has it now."""
        return Path(f"/sys/class/net/{self.device}/master").exists()

    def make(self, underlay: Underlay, mtu: int) -> None:
        """The device, on the bridge; raises NetlinkError, OSError."""
        with netlink.route() as host:
            bridge = int(host.link_lookup(ifname=self.bridge)[0])
            device = _ensure(
                host, self.device, kind="vxlan", vxlan_id=self.vni, vxlan_port=PORT,
                vxlan_learning=1, vxlan_ageing=0, **_local(underlay.address),
            )  # fmt: skip
            host.link("set", index=device, mtu=mtu)
            _without_ipv6(self.device)
            host.link("set", index=device, master=bridge, state="up")
            host.link("set", index=device, kind="bridge_slave", neigh_suppress=1)
        for peer in underlay.peers:
            rtnetlink.send_to_all_by(self.device, peer)

    def remove(self) -> None:
        """The device with all its entries; no error when it is gone."""
        with netlink.route() as host:
            for index in host.link_lookup(ifname=self.device):
                with contextlib.suppress(Exception):
                    host.link("del", index=index)

    def show(self, mac: str, addresses: Iterable[str], host: str) -> None:
        """A container is at another host; raises OSError."""
        rtnetlink.send_by(self.device, mac, host)
        rtnetlink.expect_behind(self.device, mac)
        self.introduce(mac, addresses)

    def introduce(self, mac: str, addresses: Iterable[str]) -> None:
        """The bridge answers for these addresses, wherever they are; raises OSError."""
        for address in addresses:
            rtnetlink.replace_neighbour(self.bridge, address, mac)

    def forget(self, addresses: Iterable[str]) -> None:
        """The bridge does not answer for these addresses any more."""
        for address in addresses:
            _unless_gone(lambda address=address: rtnetlink.remove_neighbour(self.bridge, address))

    def here(self, mac: str) -> None:
        """A container is here now: nothing says that it is elsewhere."""
        _unless_gone(lambda: rtnetlink.send_no_more_by(self.device, mac))
        _unless_gone(lambda: rtnetlink.expect_no_more_behind(self.device, mac))

    def hide(self, mac: str, addresses: Iterable[str]) -> None:
        """A container is nowhere."""
        self.here(mac)
        self.forget(addresses)

    def announce(self, frames: Iterable[bytes]) -> None:
        """Send frames to all peers, past the bridge; raises OSError.

        Their kernels learn from it at once which host has the frames' source address.
        """
        netlink.send_frames(self.device, frames)


def overhead(underlay: Underlay) -> int:
    """Bytes of its MTU that are not the containers'."""
    return OVERHEAD6 if ":" in underlay.address else OVERHEAD


def _local(address: str) -> dict[str, str]:
    return {"vxlan_local6" if ":" in address else "vxlan_local": address}


def _ensure(host: Any, name: str, **properties: Any) -> int:
    """The index of the interface, which is made if need be."""
    from pyroute2 import NetlinkError

    try:
        host.link("add", ifname=name, **properties)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
    return int(host.link_lookup(ifname=name)[0])


def _without_ipv6(interface: str) -> None:
    """It is a port: an address of its own would only speak to all peers."""
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")


def _unless_gone(undo: Any) -> None:
    try:
        undo()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV, errno.EINVAL}:
            raise
