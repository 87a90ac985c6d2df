"""Network interfaces, as far as plain ioctls reach (netdevice(7)); the rest is netlink's."""

from __future__ import annotations

import fcntl
import struct

from migrate.kernel.bare import contextlib, socket

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFTXQLEN = 0x8943
SIOCBRADDIF, SIOCBRDELIF = 0x89A2, 0x89A3
IFF_UP = 0x1
_IFREQ_FLAGS = struct.Struct("16sh22x")
_IFREQ_INDEX = struct.Struct("16si20x")


def _handle() -> contextlib.closing[socket.socket]:
    return contextlib.closing(
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    )


def bring_up(name: str) -> None:
    """Set the interface up in this network namespace; raises OSError (ENODEV: no such one)."""
    with _handle() as handle:
        request = _IFREQ_FLAGS.pack(name.encode(), 0)
        flags = _IFREQ_FLAGS.unpack(fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, _IFREQ_FLAGS.pack(name.encode(), flags | IFF_UP))


def set_queue_length(name: str, frames: int) -> None:
    """How many frames may wait to be sent; raises OSError."""
    with _handle() as handle:
        fcntl.ioctl(handle, SIOCSIFTXQLEN, _IFREQ_INDEX.pack(name.encode(), frames))


def join_bridge(bridge: str, name: str) -> None:
    """Make an interface a port of a bridge; raises OSError (EBUSY: it is one already)."""
    _bridge_port(SIOCBRADDIF, bridge, name)


def leave_bridge(bridge: str, name: str) -> None:
    """Take a port off its bridge; raises OSError (EINVAL: it is none)."""
    _bridge_port(SIOCBRDELIF, bridge, name)


def _bridge_port(request: int, bridge: str, name: str) -> None:
    with _handle() as handle:
        argument = _IFREQ_INDEX.pack(bridge.encode(), socket.if_nametoindex(name))
        fcntl.ioctl(handle, request, argument)
