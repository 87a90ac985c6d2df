"""The frames of the data connections (docs/protocol.md, "Data"): packing, no I/O."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import xxhash

from migrate.errors import MigrateError, from_wire
from migrate.transfer.errors import DataDamaged, ProtocolError

MAGIC = b"MIGB"
DATA_VERSION = 1
MAX_PAYLOAD = 4 * 1024 * 1024
MAX_PATH = 4096
MAX_ANSWER = 64 * 1024
UNKNOWN_SIZE = 2**64 - 1
MAX_SIZE = 2**63 - 1
SYNC_FLAG = 1
ZSTD_FLAG = 1
ARRIVAL_FLAG = 2
XOR_FLAG = 4
PAGE = 4096
"""Bytes; the unit of PAGES, whatever the machine's own page size is."""

_PREFIX = struct.Struct(">4sBBHIQI")
_CHECKSUM = struct.Struct(">Q")
HEADER_SIZE = _PREFIX.size + _CHECKSUM.size
_HOLE = struct.Struct(">Q")
_DONE = struct.Struct(">QQ")
_PAGES = struct.Struct(">II")
_RUN = struct.Struct(">QI")
_ASKED = struct.Struct("=QQ")
_DIGEST = struct.Struct(">Q")

Buffer = bytes | bytearray | memoryview


class Kind(enum.IntEnum):
    """What a frame is; the receiver sends READY, DONE, ERROR and ASKED, the sender the others."""

    READY = 1
    OPEN = 2
    DATA = 3
    HOLE = 4
    CLOSE = 5
    FLUSH = 6
    DONE = 7
    ERROR = 8
    PAGES = 9
    WATCH = 10
    ASKED = 11
    PACK = 12


@dataclass(frozen=True, slots=True)
class Header:
    """A frame's head; the meaning of `file` and `offset` depends on the kind."""

    kind: Kind
    flags: int
    mode: int
    file: int
    offset: int
    length: int


def pack(
    kind: Kind,
    *payload: Buffer,
    flags: int = 0,
    mode: int = 0,
    file: int = 0,
    offset: int = 0,
) -> bytes:
    """The header for a payload, whose parts follow it on the wire; the checksum covers all."""
    prefix = _PREFIX.pack(MAGIC, kind, flags, mode, file, offset, sum(map(len, payload)))
    return prefix + _CHECKSUM.pack(_checksum(prefix, *payload))


def frame(
    kind: Kind, payload: bytes = b"", *, flags: int = 0, mode: int = 0, file: int = 0,
    offset: int = 0,
) -> bytes:  # fmt: skip
    """Header and payload in one piece, for small frames."""
    return pack(kind, payload, flags=flags, mode=mode, file=file, offset=offset) + payload


def unpack(head: Buffer, max_payload: int = MAX_PAYLOAD) -> Header:
    """The header in HEADER_SIZE bytes, not yet verified.

    Raises ProtocolError: no frame, a kind or a length that can't be.
    """
    magic, kind, flags, mode, file, offset, length = _PREFIX.unpack_from(head)
    if magic != MAGIC:
        raise ProtocolError(
            "the data connection carries no frames",
            cause=f"it begins {bytes(head[:32])!r}: does something else write to it, "
            "such as a shell's start-up file?",
        )
    if length > max_payload:
        raise ProtocolError(f"a frame of {length} bytes on the data connection is too large")
    try:
        return Header(Kind(kind), flags, mode, file, offset, length)
    except ValueError as error:
        raise ProtocolError(f"unknown frame kind {kind} on the data connection") from error


def verify(head: Buffer, payload: Buffer) -> None:
    """Raises DataDamaged when header and payload do not fit the header's checksum."""
    (expected,) = _CHECKSUM.unpack_from(head, _PREFIX.size)
    if _checksum(bytes(head[: _PREFIX.size]), payload) != expected:
        raise DataDamaged("a frame on the data connection has a wrong checksum")


def _checksum(prefix: bytes, *payload: Buffer) -> int:
    state = xxhash.xxh3_64(prefix)
    for part in payload:
        state.update(part)
    return state.intdigest()


def hole_payload(length: int) -> bytes:
    """The payload of HOLE."""
    return _HOLE.pack(length)


def parse_hole(payload: Buffer) -> int:
    """The length of a HOLE; raises ProtocolError."""
    if len(payload) != _HOLE.size:
        raise ProtocolError("a HOLE frame needs a payload of 8 bytes")
    return int(_HOLE.unpack(payload)[0])


@dataclass(frozen=True, slots=True)
class Pages:
    """A PAGES frame taken apart: runs of (offset, length) in bytes, and the bytes of `data`."""

    data: list[tuple[int, int]]
    zeros: list[tuple[int, int]]
    content: Buffer
    """That of the `data` runs one after another; compressed if the frame has ZSTD_FLAG."""


def pages_table(data: Sequence[tuple[int, int]], zeros: Sequence[tuple[int, int]]) -> bytes:
    """The head of a PAGES payload; the content of the `data` runs follows it on the wire."""
    runs = (_RUN.pack(offset, length // PAGE) for offset, length in (*data, *zeros))
    return _PAGES.pack(len(data), len(zeros)) + b"".join(runs)


def parse_pages(payload: memoryview) -> Pages:
    """Take a PAGES payload apart; raises ProtocolError for runs that can't be."""
    if len(payload) < _PAGES.size:
        raise ProtocolError("a PAGES frame has no table")
    data, zeros = _PAGES.unpack_from(payload)
    end = _PAGES.size + (data + zeros) * _RUN.size
    if end > len(payload):
        raise ProtocolError("a PAGES frame's table is longer than the frame")
    runs = []
    for offset, count in _RUN.iter_unpack(payload[_PAGES.size : end]):
        length = count * PAGE
        if offset % PAGE or not count or offset + length > MAX_SIZE:
            raise ProtocolError(f"a PAGES frame names {count} pages at {offset}")
        runs.append((offset, length))
    if sum(length for _, length in runs[:data]) > MAX_PAYLOAD:
        raise ProtocolError("a PAGES frame names more pages than a frame may hold")
    return Pages(runs[:data], runs[data:], payload[end:])


def xor_digest(content: Buffer) -> bytes:
    """What stands before XORed content: a digest of what it has to become."""
    return _DIGEST.pack(xxhash.xxh3_64_intdigest(content))


def parse_xor(content: Buffer) -> tuple[bytes, Buffer]:
    """Digest and the rest of such a frame's content; raises ProtocolError."""
    if len(content) < _DIGEST.size:
        raise ProtocolError("a PAGES frame with XORed content has no digest")
    return bytes(content[: _DIGEST.size]), content[_DIGEST.size :]


def arrivals(pages: Pages) -> bytes:
    """What a log of arrivals is given for these: uint64 pairs [start, end), little endian."""
    runs = [*pages.data, *pages.zeros]
    return b"".join(struct.pack("<QQ", offset, offset + length) for offset, length in runs)


def asked_record(number: int, offset: int) -> bytes:
    """A request as it goes through the FIFO: the number that a file has for a name, an offset."""
    return _ASKED.pack(number, offset)


def parse_asked(payload: Buffer) -> list[tuple[int, int]]:
    """(number, offset) of the requests in an ASKED; raises ProtocolError."""
    if len(payload) % _ASKED.size:
        raise ProtocolError("an ASKED frame holds no whole number of requests")
    return [(int(number), int(offset)) for number, offset in _ASKED.iter_unpack(payload)]


def done_payload(files: int, payload_bytes: int) -> bytes:
    """The payload of DONE: OPENs and bytes of DATA on this connection since it was opened."""
    return _DONE.pack(files, payload_bytes)


def parse_done(payload: Buffer) -> tuple[int, int]:
    """(files, bytes) of a DONE; raises ProtocolError."""
    if len(payload) != _DONE.size:
        raise ProtocolError("a DONE frame needs a payload of 16 bytes")
    files, payload_bytes = _DONE.unpack(payload)
    return files, payload_bytes


def error_frame(error: MigrateError) -> bytes:
    """ERROR: the last frame of a receiver."""
    return frame(Kind.ERROR, msgspec.msgpack.encode(error.to_wire()))


def parse_error(payload: Buffer) -> MigrateError:
    """The error that an ERROR frame tells of, or a ProtocolError."""
    try:
        wire = msgspec.msgpack.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        return ProtocolError("an ERROR frame can't be read", cause=str(error))
    return from_wire(wire)


class AnswerDecoder:
    """Cuts what a receiver sends into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: Buffer) -> list[tuple[Header, bytes]]:
        """The frames that are complete with `data`; raises ProtocolError, DataDamaged."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER_SIZE:
            head = bytes(self._buffer[:HEADER_SIZE])
            header = unpack(head, MAX_ANSWER)
            end = HEADER_SIZE + header.length
            if len(self._buffer) < end:
                break
            payload = bytes(self._buffer[HEADER_SIZE:end])
            del self._buffer[:end]
            verify(head, payload)
            frames.append((header, payload))
        return frames
