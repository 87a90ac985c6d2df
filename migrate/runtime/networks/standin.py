"""A port that stands in for a container while nobody can answer for its address.

A packet that is lost in a pause costs its sender far more than the pause: TCP sends again after
200 ms at the earliest (RFC 6298 with Linux's minimum), then after 400. So a TAP interface on the
same bridge takes the container's packets meanwhile, and they are delivered when it runs again, here
or at the other host. It is this process's: whatever ends that ends the interface.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable

from migrate.kernel import icmpv6, interfaces, netlink, tap

KEPT = 512 << 10
"""Bytes of frames that are kept for the other host: more would delay the thaw."""
_QUEUE = 4096  # frames


class StandIn:
    """Made before the pause; `take_over` and `frames` are for inside it."""

    def __init__(self, name: str, bridge: str, mac: str, address: str, address6: str = "") -> None:
        """A port `name` of `bridge`, for a container with this MAC, IPv4 and IPv6 address.

        Each but the MAC may be "". Raises OSError where there can be none (no TUN driver).
        """
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._address, self._address6 = address, address6
        self._ip = socket.inet_aton(address) if address else b""
        self._ip6 = socket.inet_pton(socket.AF_INET6, address6) if address6 else b""
        self.also: Callable[[list[bytes]], None] = lambda _: None
        """Given the announcement, too: tells who does not hear the link."""
        self._descriptor = tap.open_tap(name)
        try:
            interfaces.set_queue_length(name, _QUEUE)
            interfaces.bring_up(name)
            if bridge:
                interfaces.join_bridge(bridge, name)
        except BaseException:
            self.close()
            raise

    def take_over(self) -> tuple[str, str]:
        """Tell the link that the addresses are here, as from the container.

        Returns where the source is to send what still comes to it: this host's addresses in the
        network beneath, IPv4 and IPv6; "" where it need not.
        """
        frames = netlink.announcements(self._mac, self._address, self._address6)
        for frame in frames:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, frame)
        with contextlib.suppress(OSError):
            self.also(frames)
        return "", ""

    def point_to(self, host: str, host6: str) -> None:
        """At the source: the target has taken over, and is at these addresses (`take_over`)."""

    def frames(self) -> list[bytes]:
        """What has come for the container, and not been asked for before; at most KEPT bytes.

        Also who has asked the whole link for its addresses: they would ask again after a second.
        """
        if self._descriptor < 0:
            return []
        found = tap.read_frames(self._descriptor, KEPT)
        return [frame for frame in found if frame[:6] == self._mac or self._is_asked(frame)]

    def _is_asked(self, frame: bytes) -> bool:
        if self._ip and arp_asks(frame, self._ip):
            return True
        return bool(self._ip6) and icmpv6.solicits(frame, self._ip6)

    def close(self) -> None:
        """Stand in no more; safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def arp_asks(frame: bytes, ip: bytes) -> bool:
    """Whether somebody else asks for the MAC of `ip` (4 bytes): an ARP request."""
    is_request = frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x01"
    return is_request and frame[38:42] == ip and frame[28:32] != ip


def deliver(port: str, frames: Iterable[bytes]) -> None:
    """Hand frames to the container behind the host's end of its veth pair."""
    frames = list(frames)
    if frames:
        with contextlib.suppress(OSError):  # as if the link had lost them
            netlink.send_frames(port, frames)
