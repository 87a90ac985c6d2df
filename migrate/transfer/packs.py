"""Small files, many to a frame: each of their own would cost three frames and as many writes.

The payload of PACK, for each file: its path's length (uint16), its mode (uint16), its size
(uint32), big-endian; the path; the content.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.transfer.errors import ProtocolError
from migrate.transfer.frames import Buffer, Kind, pack

SMALL = 32 * 1024
"""Bytes; larger files go by themselves."""
MOST = 256 * 1024
"""Bytes after which a frame is full."""
_HEAD = struct.Struct(">HHI")


@dataclass(frozen=True)
class PackPiece:
    """The files of one frame."""

    payload: bytes
    count: int
    length: int
    """Bytes of the files."""

    def hold(self) -> None:
        """Nothing is kept open."""

    def release(self) -> None:
        """As `hold`."""

    def frames(self) -> list[Buffer]:
        """The frame."""
        return [pack(Kind.PACK, self.payload), self.payload]


def is_small(descriptor: int) -> bool:
    """Whether a file goes along with others."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_size <= SMALL


class Packing:
    """Collects files until a frame is full."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = self._length = 0

    def add(self, path: bytes, mode: int, content: bytes) -> None:
        """One more file."""
        self._parts += [_HEAD.pack(len(path), mode, len(content)), path, content]
        self._count += 1
        self._length += len(content)

    def take_in(self, descriptor: int, name: str) -> None:
        """One more file, which `is_small`; its descriptor is closed. Raises OSError."""
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            mode = os.fstat(descriptor).st_mode & 0o777
            self.add(os.fsencode(name), mode, file.read(SMALL))

    @property
    def is_full(self) -> bool:
        """Whether it is time to `take` them."""
        return self._length >= MOST

    def take(self) -> PackPiece | None:
        """What was collected; None where there is nothing."""
        if not self._parts:
            return None
        made = PackPiece(b"".join(self._parts), self._count, self._length)
        self._parts, self._count, self._length = [], 0, 0
        return made


def unpacked(payload: memoryview) -> Iterator[tuple[bytes, int, memoryview]]:
    """(path, mode, content) of each file; raises ProtocolError where a frame ends too early."""
    at = 0
    while at < len(payload):
        if len(payload) - at < _HEAD.size:
            raise ProtocolError("a PACK frame ends within a file's head")
        path, mode, size = _HEAD.unpack_from(payload, at)
        at += _HEAD.size
        if path + size > len(payload) - at:
            raise ProtocolError("a PACK frame ends within a file")
        yield bytes(payload[at : at + path]), mode, payload[at + path : at + path + size]
        at += path + size
