"""A port that stands in for a container while nobody can answer for its address.

A packet that is lost in a pause costs its sender far more than the pause: TCP sends again after
200 ms at the earliest (RFC 6298 with Linux's minimum), then after 400. So a TAP interface on the
same bridge takes the container's packets meanwhile, and they are delivered when it runs again, here
or at the other host. It is this process's: whatever ends that ends the interface.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from migrate.kernel import interfaces, netlink, tap

KEPT = 512 << 10
"""Bytes of frames that are kept for the other host: more would delay the thaw."""
_QUEUE = 4096  # frames


class StandIn:
    """Made before the pause; `take_over` and `frames` are for inside it."""

    def __init__(self, name: str, bridge: str, mac: str, address: str) -> None:
        """A port `name` of `bridge`, for a container with this MAC and IPv4 address.

        Raises OSError where there can be none (no TUN driver).
        """
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._address = address
        self._descriptor = tap.open_tap(name)
        try:
            interfaces.set_queue_length(name, _QUEUE)
            interfaces.bring_up(name)
            interfaces.join_bridge(bridge, name)
        except BaseException:
            self.close()
            raise

    def take_over(self) -> None:
        """Tell the link that the address is here: a gratuitous ARP, as from the container."""
        for frame in netlink.gratuitous_arp(self._mac, self._address):
            with contextlib.suppress(OSError):
                os.write(self._descriptor, frame)

    def frames(self) -> list[bytes]:
        """What has come for the container, and not been asked for before; at most KEPT bytes."""
        if self._descriptor < 0:
            return []
        found = tap.read_frames(self._descriptor, KEPT)
        return [frame for frame in found if frame[:6] == self._mac]

    def close(self) -> None:
        """Stand in no more; safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def deliver(port: str, frames: Iterable[bytes]) -> None:
    """Hand frames to the container behind the host's end of its veth pair."""
    frames = list(frames)
    if frames:
        with contextlib.suppress(OSError):  # as if the link had lost them
            netlink.send_frames(port, frames)
