"""A small file that is rewritten durably at the cost of one flush of its own blocks.

The pause of a move waits for its journal. A new file, renamed and fsynced, makes the file system
commit its transaction, and with it whatever else has just been written, memory images first of all.
So the file gets its blocks beforehand, and each version goes into the next of a few slots, with a
number and a checksum: a version that was cut off leaves the one before. No space is needed.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import xxhash

from migrate.kernel.files import write_atomically

SLOT = 16 << 10
"""Bytes; with its head, a version must fit in."""
SLOTS = 4
_HEAD = struct.Struct(">QQI")  # xxh3-64 of all behind it, number of the version, length


def create(path: Path, data: bytes) -> None:
    """Make the file with its first version, durable on return; raises ValueError, OSError."""
    write_atomically(path, _slot(1, data).ljust(SLOT * SLOTS, b"\0"))


def rewrite(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write another version; raises ValueError when it is too long, FileNotFoundError, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        number = max((n for n, _ in _versions(os.pread(descriptor, SLOT * SLOTS, 0))), default=0)
        os.pwrite(descriptor, _slot(number + 1, data), number % SLOTS * SLOT)
        if durable:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """The last whole version; raises ValueError when there is none, FileNotFoundError."""
    with path.open("rb") as file:
        found = _versions(file.read(SLOT * SLOTS))
    if not found:
        raise ValueError("no whole version is in it")
    return max(found)[1]


def _slot(number: int, data: bytes) -> bytes:
    if _HEAD.size + len(data) > SLOT:
        raise ValueError(f"{len(data)} bytes do not fit in a slot of {SLOT}")
    rest = _HEAD.pack(0, number, len(data))[8:] + data
    return xxhash.xxh3_64_digest(rest) + rest


def _versions(raw: bytes) -> list[tuple[int, bytes]]:
    """The whole versions in a file, with their numbers."""
    found = []
    for at in range(0, len(raw) - _HEAD.size, SLOT):
        digest, number, length = _HEAD.unpack_from(raw, at)
        end = at + _HEAD.size + length
        if number and length <= SLOT and xxhash.xxh3_64_intdigest(raw[at + 8 : end]) == digest:
            found.append((number, raw[at + _HEAD.size : end]))
    return found
