"""Userfaultfd, the filling side: putting pages in place, and what the kernel tells of a process.

Structures and numbers: include/uapi/linux/userfaultfd.h. What the calls answer is told in
ioctl_userfaultfd(2) and mm/userfaultfd.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import NamedTuple

from migrate.kernel.libc import libc, oserror

PAGE = os.sysconf("SC_PAGESIZE")
MESSAGE_SIZE = 32  # struct uffd_msg

FAULT, FORK, REMAP, REMOVE, UNMAP = 0x12, 0x13, 0x14, 0x15, 0x16
"""The events, first byte of a message."""

_UFFDIO_WAKE = 0x8010_AA02
_UFFDIO_COPY = 0xC028_AA03
_UFFDIO_ZEROPAGE = 0xC020_AA04
# What a caller decides by; anything else is an error of its own.
_TOLD = (errno.EAGAIN, errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.ENOMEM)


class Outcome(NamedTuple):
    """What came of a call: `done` bytes are in place, and why no more (0: nothing was left).

    `error` is EAGAIN (the address space is being changed: read the messages, then try again),
    EEXIST (the next page is there already), ENOENT (no registered region, or the range goes beyond
    one), ESRCH (the process has ended or executed another program), ENOMEM (the container's memory
    limit, or the host's).
    """

    done: int
    error: int


class Message(NamedTuple):
    """A message: its event, and what the event means by the three numbers.

    FAULT: address, flags, 0. FORK: the child's userfaultfd, 0, 0. REMAP: old address, new address,
    length. REMOVE, UNMAP: start, end, 0. Addresses and lengths in bytes.
    """

    event: int
    first: int
    second: int
    third: int


def parse(raw: bytes | memoryview) -> Message:
    """One struct uffd_msg (32 bytes) in host order; raises ValueError for an unknown event."""
    event = raw[0]
    if event == FAULT:
        flags, address = struct.unpack_from("=QQ", raw, 8)
        return Message(event, address, flags, 0)
    if event == FORK:
        return Message(event, struct.unpack_from("=I", raw, 8)[0], 0, 0)
    first, second, third = struct.unpack_from("=QQQ", raw, 8)
    if event == REMAP:
        return Message(event, first, second, third)
    if event in {REMOVE, UNMAP}:
        return Message(event, first, second, 0)
    raise ValueError(f"unknown userfaultfd event {event:#x}")


def copy(uffd: int, destination: int, source: int, length: int) -> Outcome:
    """Put `length` bytes from our address `source` at `destination`, and wake who waits for them.

    All page aligned. Raises OSError for what no caller can decide by.
    """
    request = struct.pack("=QQQQq", destination, source, length, 0, 0)
    return _place("UFFDIO_COPY", uffd, _UFFDIO_COPY, request, 32, length)


def zero(uffd: int, start: int, length: int) -> Outcome:
    """Map zero pages and wake who waits for them; as `copy`."""
    request = struct.pack("=QQQq", start, length, 0, 0)
    return _place("UFFDIO_ZEROPAGE", uffd, _UFFDIO_ZEROPAGE, request, 24, length)


def wake(uffd: int, start: int, length: int) -> None:
    """Let who waits in the range try again; raises OSError."""
    _range("UFFDIO_WAKE", uffd, _UFFDIO_WAKE, start, length)


def wake_all(uffd: int) -> None:
    """Let all who wait try again, wherever they wait; raises OSError.

    A range that ends above the process's address space is refused, and how large that is depends
    on architecture and configuration: the largest that is not refused.
    """
    for bits in (56, 52, 48, 47, 42, 39):
        try:
            wake(uffd, 0, (1 << bits) - PAGE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return


def _place(
    name: str, uffd: int, number: int, request: bytes, at: int, length: int
) -> Outcome:  # fmt: skip
    buffer = ctypes.create_string_buffer(request, len(request))
    if libc.ioctl(uffd, ctypes.c_ulong(number), buffer) == 0:
        return Outcome(length, 0)
    error = ctypes.get_errno()
    if error not in _TOLD:
        raise oserror(f"{name} of {length} bytes at {struct.unpack_from('=Q', request)[0]:#x}")
    done = struct.unpack_from("=q", buffer, at)[0]
    return Outcome(max(done, 0), error)


def _range(name: str, uffd: int, number: int, start: int, length: int) -> None:
    buffer = ctypes.create_string_buffer(struct.pack("=QQ", start, length), 16)
    if libc.ioctl(uffd, ctypes.c_ulong(number), buffer) != 0:
        raise oserror(f"{name} of {length} bytes at {start:#x}")
