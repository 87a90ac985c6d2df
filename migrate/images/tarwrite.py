"""Writes tar headers: ustar, with a PAX header where ustar can't say it; the same bytes each time.

The reading side and the sources are in `tarread`.
"""

from __future__ import annotations

import base64
import urllib.parse

from migrate.images.tarfields import XATTR_LIBARCHIVE, XATTR_SCHILY, Records
from migrate.images.tarread import (
    BLOCK,
    LITERAL_NAME,
    REMOVED,
    STAGED_NUMBER,
    STAGED_SIZE,
    Kind,
    Member,
    Segments,
)

END = bytes(2 * BLOCK)
_OCTAL_8, _OCTAL_12 = 8**7, 8**11


def padding(size: int) -> bytes:
    """The zeros that fill `size` bytes up to a block."""
    return bytes(-size % BLOCK)


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _ustar(member: Member, name: bytes, letter: bytes, size: int) -> bytes:
    """One 512-byte header; what does not fit is cut, the PAX header before it says it whole."""
    seconds = member.mtime_ns // 10**9
    fields = (
        name[:100].ljust(100, b"\0"),
        _octal(member.mode & 0o7777, 8),
        _octal(member.uid if member.uid < _OCTAL_8 else 0, 8),
        _octal(member.gid if member.gid < _OCTAL_8 else 0, 8),
        _octal(size if size < _OCTAL_12 else 0, 12),
        _octal(seconds if 0 <= seconds < _OCTAL_12 else 0, 12),
        b" " * 8,
        letter,
        member.link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        _octal(member.device[0], 8),
        _octal(member.device[1], 8),
    )
    header = b"".join(fields).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _time(nanoseconds: int) -> bytes:
    sign = "-" if nanoseconds < 0 else ""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{fraction:09d}".rstrip("0").rstrip(".").encode()


def _xattr_records(xattrs: dict[bytes, bytes]) -> Records:
    records = []
    for name, value in sorted(xattrs.items()):
        if b"=" in name:  # a PAX keyword can't hold it; libarchive's form escapes it
            quoted = urllib.parse.quote_from_bytes(name).encode()
            records.append((XATTR_LIBARCHIVE + quoted, base64.b64encode(value)))
        else:
            records.append((XATTR_SCHILY + name, value))
    return records


def _records(member: Member, size: int) -> Records:
    """What ustar can't say of this member."""
    records: Records = []
    if member.segments is not None:
        realsize = str(member.size).encode()
        records += [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
        records += [(b"GNU.sparse.name", member.name), (b"GNU.sparse.realsize", realsize)]
    elif len(member.name) > 100 or not member.name.isascii():
        records.append((b"path", member.name))
    if len(member.link) > 100 or not member.link.isascii():
        records.append((b"linkpath", member.link))
    if member.mtime_ns % 10**9 or not 0 <= member.mtime_ns < _OCTAL_12 * 10**9:
        records.append((b"mtime", _time(member.mtime_ns)))
    for key, value in ((b"uid", member.uid), (b"gid", member.gid)):
        if value >= _OCTAL_8:
            records.append((key, str(value).encode()))
    if size >= _OCTAL_12:
        records.append((b"size", str(size).encode()))
    if member.literal:
        records.append((LITERAL_NAME, b"1"))
    if member.removed:
        records.append((REMOVED, b"1"))
    if member.staged is not None:
        records.append((STAGED_NUMBER, str(member.staged).encode()))
        records.append((STAGED_SIZE, str(member.size).encode()))
    return records + _xattr_records(member.xattrs)


def sparse_map(segments: Segments) -> bytes:
    """The PAX 1.0 map that stands before a sparse file's data."""
    numbers = [len(segments), *(number for segment in segments for number in segment)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + padding(len(text))


def header(member: Member) -> bytes:
    """Everything before the member's data: headers, and the map of a sparse file.

    The caller writes the data of the segments (or `size` bytes), then `padding` of their sum;
    nothing where the content is elsewhere (`staged`).
    """
    stored = member.kind is Kind.FILE and member.staged is None
    table, size, name = b"", member.size if stored else 0, member.name
    if member.segments is not None:
        table = sparse_map(member.segments)
        size = len(table) + sum(length for _, length in member.segments)
        name = b"GNUSparseFile.0/" + name  # what a reader without sparse files unpacks to
    blocks = []
    records = b"".join(_record(key, value) for key, value in _records(member, size))
    if records:
        label = b"PaxHeaders.0/" + member.name.rstrip(b"/").rsplit(b"/", 1)[-1]
        plain = Member(name=label, kind=Kind.FILE)
        blocks += [_ustar(plain, label, b"x", len(records)), records, padding(len(records))]
    return b"".join([*blocks, _ustar(member, name, member.kind.value, size), table])
