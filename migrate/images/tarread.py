"""Reads tar streams: ustar, PAX and GNU, with xattrs, nanoseconds and all four sparse forms.

Why not `tarfile`: it stops silently at a damaged header, reads extended headers of any size into
memory, rounds times to floats, and follows names it decoded. Here names are bytes, every size is
bounded before it is read, and whatever isn't understood is refused.

Sources: POSIX.1-2017 pax, "ustar" and "pax Interchange Format"; GNU tar manual, "Basic Tar Format"
and "Storing Sparse Files"; Go's archive/tar for which types carry data.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from migrate.images.errors import ImageArchiveBad, LayerUnsafe, printable
from migrate.images.tarfields import (
    Records,
    bad,
    decimal,
    number,
    parse_records,
    parse_time,
    xattrs_of,
)

BLOCK = 512
CHUNK = 1 << 20
EXTENDED_LIMIT = 4 << 20  # one PAX or long-name header: xattrs are at most 64 KiB each
GLOBAL_LIMIT = 16 << 10  # bytes of all global headers: they count for each member after them
SEGMENT_LIMIT = 1_000_000
SECONDS_LIMIT = 1 << 40
# Our own record: the content is not here, but in a file of that number, of that size in bytes.
STAGED_NUMBER, STAGED_SIZE = b"MIGRATE.staged", b"MIGRATE.size"
LITERAL_NAME = b"MIGRATE.literal"  # our own record: a name that begins with .wh. and means itself
REMOVED = b"MIGRATE.removed"  # our own record: whoever unpacks takes away what has this name

Segments = list[tuple[int, int]]


class Source(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Kind(enum.Enum):
    """What a member is."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True)
class Limits:
    """How much a tar may hold before it is refused."""

    total_bytes: int = 256 << 30  # of the uncompressed tar
    apparent_bytes: int = 4 << 40  # of all files together, holes included
    members: int = 2_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Member:
    """One entry; `segments` lists (offset, length) of the stored data of a sparse file.

    `staged`: the number of the file that holds the content, which has `size` bytes. `removed`: no
    entry, but the name of one that is to go (`changes`).
    """

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    segments: Segments | None = None
    literal: bool = False
    staged: int | None = None
    removed: bool = False


class TarReader:
    """Iterates over the members of a tar stream; `chunks` gives the current member's data.

    Raises ImageArchiveBad for damage, LayerUnsafe past a limit. With `need_end`, a stream that
    stops between two members without the end mark counts as cut off. `skip` passes over data that
    nobody reads, for a stream that can seek. Members whose content is elsewhere are refused as
    LayerUnsafe unless `staged` is set, and those that name what is to go unless `removals` is.
    """

    def __init__(
        self,
        stream: Source,
        limits: Limits = DEFAULT_LIMITS,
        *,
        need_end: bool = False,
        skip: Callable[[int], object] | None = None,
        staged: bool = False,
        removals: bool = False,
    ) -> None:
        self._stream = stream
        self._skip = skip
        self._removals = removals
        self._staged = staged
        self._limits = limits
        self._need_end = need_end
        self._global: dict[bytes, bytes] = {}
        self._global_bytes = 0
        self._extended = 0  # bytes of the current member's extended headers
        self._left = 0  # data bytes of the current member not read yet
        self._padding = 0
        self._segments: Segments = []
        self._apparent = 0
        self.offset = 0  # in the stream
        self.stored = 0  # bytes of data of the current member

    def _read(self, size: int) -> bytes:
        parts = []
        missing = size
        while missing:
            data = self._stream.read(missing)
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        self.offset += size - missing
        if self.offset > self._limits.total_bytes:
            raise LayerUnsafe(f"the tar is larger than {self._limits.total_bytes} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise ImageArchiveBad("the tar is cut off", cause=f"it ends at byte {self.offset}")
        return data

    def _payload(self, size: int) -> bytes:
        """The content of an extended header; all of one member together are bounded."""
        self._extended += size
        if size < 0 or self._extended > EXTENDED_LIMIT:
            raise LayerUnsafe(f"extended tar headers of {self._extended} bytes are too large")
        return self._exactly(size + -size % BLOCK)[:size]

    def _finish_member(self) -> None:
        if self._skip is not None and self._left:
            self._skip(self._left)
            self.offset += self._left
            self._left = 0
        while self._left:
            self._left -= len(self._exactly(min(self._left, CHUNK)))
        self._exactly(self._padding)
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        count = 0
        while (member := self._next()) is not None:
            count += 1
            self._apparent += member.size
            if count > self._limits.members:
                raise LayerUnsafe(f"the tar holds more than {self._limits.members} members")
            if self._apparent > self._limits.apparent_bytes:
                raise LayerUnsafe(
                    f"the files up to {printable(member.name)} are larger than the limit of "
                    f"{self._limits.apparent_bytes} bytes"
                )
            yield member

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """The current member's data as (offset in the file, bytes), at most 1 MiB each."""
        for start, length in self._segments:
            done = 0
            while done < length:
                data = self._exactly(min(length - done, CHUNK))
                self._left -= len(data)
                yield start + done, data
                done += len(data)

    def _next(self) -> Member | None:
        """The next member, its extended headers folded in; None at the end mark."""
        records: Records = []
        self._extended = 0
        while True:
            self._finish_member()
            header = self._header()
            if header is None:
                return None
            kind, size = header[156:157], number(header[124:136])
            if kind in {b"x", b"X"}:
                records += parse_records(self._payload(size))
            elif kind == b"g":
                self._global_bytes += size
                if self._global_bytes > GLOBAL_LIMIT:
                    raise LayerUnsafe(f"global tar headers hold more than {GLOBAL_LIMIT} bytes")
                self._global.update(parse_records(self._payload(size)))
            elif kind in {b"L", b"K"}:
                text = self._payload(size).split(b"\0", 1)[0]
                records.append((b"path" if kind == b"L" else b"linkpath", text))
            elif kind == b"V":  # a GNU volume label says nothing about files
                records = []
            else:
                return self._member(header, records)

    def _header(self) -> bytes | None:
        header = self._read(BLOCK)
        if not header and not self._need_end:
            return None
        if len(header) != BLOCK:
            raise ImageArchiveBad("the tar is cut off", cause=f"it ends at byte {self.offset}")
        if not any(header):
            return None
        told = number(header[148:156])
        blanked = header[:148] + b" " * 8 + header[156:]
        total = sum(blanked)
        if told != total and told != total - 256 * _high_bytes(blanked):  # old tars: signed bytes
            raise bad(f"the header at byte {self.offset - BLOCK} has a wrong checksum")
        return header

    def _member(self, header: bytes, records: Records) -> Member:
        pax = {**self._global, **dict(records)}
        name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or _ustar_name(header)
        kind = _kind(header, name)
        seconds = number(header[136:148])
        mtime_ns = parse_time(pax[b"mtime"]) if b"mtime" in pax else seconds * 10**9
        uid = decimal(pax[b"uid"]) if b"uid" in pax else number(header[108:116])
        gid = decimal(pax[b"gid"]) if b"gid" in pax else number(header[116:124])
        if abs(mtime_ns) > SECONDS_LIMIT * 10**9 or not 0 <= min(uid, gid) <= max(uid, gid) < 2**32:
            raise bad(f"{printable(name)} has an impossible time or owner")
        size, segments = self._open_data(header, kind, records, pax)
        staged = None
        if STAGED_NUMBER in pax or STAGED_SIZE in pax:
            plain = kind is Kind.FILE and segments is None and size == 0
            staged, size = self._elsewhere(name, dict(records), plain=plain)
        if REMOVED in pax and not self._removals:
            raise LayerUnsafe(
                f"the tar would remove {printable(name)}",
                cause="only what brings a tree up to date in a move may",
            )
        return Member(
            name=name, kind=kind, mode=number(header[100:108]) & 0o7777, uid=uid, gid=gid,
            size=size, mtime_ns=mtime_ns, segments=segments, xattrs=xattrs_of(records),
            link=pax.get(b"linkpath") or header[157:257].split(b"\0", 1)[0],
            device=(number(header[329:337]), number(header[337:345])),
            literal=LITERAL_NAME in pax, staged=staged, removed=REMOVED in pax,
        )  # fmt: skip

    def _elsewhere(
        self, name: bytes, records: dict[bytes, bytes], *, plain: bool
    ) -> tuple[int, int]:  # fmt: skip
        """Number and size of a content that is not in the tar; `plain`: an empty regular file."""
        if not self._staged:
            raise LayerUnsafe(
                f"the content of {printable(name)} is not in this tar",
                cause="it names a file outside, as only a move between two hosts may",
            )
        if not plain or STAGED_NUMBER not in records or STAGED_SIZE not in records:
            raise bad(f"{printable(name)} can't have its content elsewhere")
        return decimal(records[STAGED_NUMBER]), decimal(records[STAGED_SIZE])

    def _open_data(
        self, header: bytes, kind: Kind, records: Records, pax: dict[bytes, bytes]
    ) -> tuple[int, Segments | None]:
        """Set up `chunks`; the file's apparent size and, for a sparse file, its segments."""
        self._segments, self._left, self._padding, self.stored = [], 0, 0, 0
        if kind is not Kind.FILE:
            return 0, None
        stored = decimal(pax[b"size"]) if b"size" in pax else number(header[124:136])
        if stored < 0:
            raise bad("a member has a negative size")
        self._padding = -stored % BLOCK
        sparse = self._sparse(header, records, pax, stored)
        size, segments, self._left = sparse or (stored, [(0, stored)], stored)
        end = 0
        for start, length in segments:
            if start < end or length < 0 or start + length > size:
                raise bad("a sparse file's map is out of order")
            end = start + length
        if sum(length for _, length in segments) != self._left:
            raise bad("a sparse file's map does not fit its data")
        self._segments, self.stored = segments, self._left
        return size, segments if sparse else None

    def _sparse(
        self, header: bytes, records: Records, pax: dict[bytes, bytes], stored: int
    ) -> tuple[int, Segments, int] | None:
        """(apparent size, segments, data bytes) of a file in one of GNU's sparse forms."""
        if header[156:157] == b"S":
            return number(header[483:495]), self._old_gnu_map(header), stored
        if (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) == (b"1", b"0"):
            segments, used = self._map_in_data(stored)
            return decimal(pax.get(b"GNU.sparse.realsize", b"")), segments, stored - used
        if b"GNU.sparse.map" in pax:
            numbers = [decimal(n) for n in pax[b"GNU.sparse.map"].split(b",") if n]
        elif b"GNU.sparse.size" in pax:
            keys = {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}
            numbers = [decimal(value) for key, value in records if key in keys]
        else:
            return None
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        return decimal(pax.get(b"GNU.sparse.size", b"")), pairs, stored

    def _old_gnu_map(self, header: bytes) -> Segments:
        segments: Segments = []
        entries, more = header[386:482], header[482]
        while True:
            for at in range(0, len(entries) - 23, 24):
                if entries[at] or entries[at + 12]:
                    start, length = entries[at : at + 12], entries[at + 12 : at + 24]
                    segments.append((number(start), number(length)))
            if not more:
                return segments
            if len(segments) > SEGMENT_LIMIT:
                raise LayerUnsafe("a sparse file has too many pieces")
            block = self._exactly(BLOCK)
            entries, more = block[:504], block[504]

    def _map_in_data(self, stored: int) -> tuple[Segments, int]:
        """The PAX 1.0 map: decimal lines at the start of the data, padded to a block."""
        buffer, used = b"", 0

        def line() -> int:
            nonlocal buffer, used
            while b"\n" not in buffer:
                if used + BLOCK > stored or len(buffer) > BLOCK:
                    raise bad("a sparse file's map is cut off")
                buffer += self._exactly(BLOCK)
                used += BLOCK
            text, _, buffer = buffer.partition(b"\n")
            return decimal(text)

        count = line()
        if count > SEGMENT_LIMIT:
            raise LayerUnsafe("a sparse file has too many pieces")
        return [(line(), line()) for _ in range(count)], used


def _high_bytes(data: bytes) -> int:
    return sum(byte > 127 for byte in data)


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _kind(header: bytes, name: bytes) -> Kind:
    letter = header[156:157]
    if letter in {b"0", b"\0", b"7", b"S"}:  # before POSIX, a slash at the end made a directory
        return Kind.DIRECTORY if name.endswith(b"/") and letter != b"S" else Kind.FILE
    try:
        return Kind.DIRECTORY if letter == b"D" else Kind(letter)
    except ValueError:
        raise bad(f"{printable(name)} has the unknown type {printable(letter)!r}") from None
