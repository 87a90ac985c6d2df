"""TAP interfaces (Linux, networking/tuntap): Ethernet frames by read and write."""

from __future__ import annotations

import fcntl
import os
import struct

TUNSETIFF = 0x4004_54CA  # include/uapi/linux/if_tun.h
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
DEVICE = "/dev/net/tun"
FRAME_LIMIT = 65_536 + 18
"""Bytes that a read can return: frames of any MTU. Without offloads set, checksums are whole."""
_IFREQ = struct.Struct("16sH22x")


def open_tap(name: str) -> int:
    """Make the interface `name`, which goes when the descriptor is closed; non-blocking.

    Raises OSError: ENOENT or ENODEV without the driver, EBUSY when there is one of that name.
    """
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, _IFREQ.pack(name.encode(), IFF_TAP | IFF_NO_PI))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_frames(descriptor: int, limit: int) -> list[bytes]:
    """The frames that wait, up to `limit` bytes together."""
    frames: list[bytes] = []
    size = 0
    while size < limit:
        try:
            frame = os.read(descriptor, FRAME_LIMIT)
        except BlockingIOError:
            break
        frames.append(frame)
        size += len(frame)
    return frames
