"""The fields of tar headers and the records of PAX headers, each bounded and checked."""

from __future__ import annotations

import base64
import binascii
import urllib.parse

from migrate.images.errors import ImageArchiveBad, printable

XATTR_SCHILY, XATTR_LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."

Records = list[tuple[bytes, bytes]]


def bad(why: str) -> ImageArchiveBad:
    """The error of a tar that can't be understood."""
    return ImageArchiveBad("the tar is damaged or of an unknown form", cause=why)


def number(raw: bytes) -> int:
    """An octal or base-256 header field."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big")
        bits = len(raw) * 8
        return value - (1 << bits) if raw[0] == 0xFF else value - (1 << (bits - 1))
    text = raw.split(b"\0", 1)[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise bad(f"{printable(raw)!r} is not an octal number") from None


def decimal(raw: bytes) -> int:
    """A number of a PAX record, not negative; raises ImageArchiveBad."""
    if not raw.isdigit() or len(raw) > 20:
        raise bad(f"{printable(raw)!r} is not a number")
    return int(raw)


def parse_time(raw: bytes) -> int:
    """PAX decimal seconds as whole nanoseconds, without the rounding of a float."""
    text = raw.removeprefix(b"-")
    seconds, _, fraction = text.partition(b".")
    if fraction and not fraction.isdigit():
        raise bad(f"{printable(raw)!r} is not a time")
    value = decimal(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -value if raw.startswith(b"-") else value


def parse_records(data: bytes) -> Records:
    """The `length keyword=value` records of a PAX header, in order, repetitions kept."""
    records: Records = []
    position = 0
    while position < len(data) and data[position] != 0:
        space = data.find(b" ", position, position + 21)
        length = decimal(data[position:space]) if space > 0 else 0
        end = position + length
        if not space + 1 < end <= len(data) or data[end - 1 : end] != b"\n":
            raise bad("a PAX record has a wrong length")
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not keyword:
            raise bad("a PAX record has no keyword")
        records.append((keyword, value))
        position = end
    return records


def xattrs_of(records: Records) -> dict[bytes, bytes]:
    """The extended attributes that PAX records hold, in SCHILY's form or in libarchive's."""
    found = {}
    for key, value in records:
        if key.startswith(XATTR_SCHILY):
            found[key.removeprefix(XATTR_SCHILY)] = value
        elif key.startswith(XATTR_LIBARCHIVE):
            name = urllib.parse.unquote_to_bytes(key.removeprefix(XATTR_LIBARCHIVE))
            try:
                found.setdefault(name, base64.b64decode(value + b"=" * (-len(value) % 4)))
            except binascii.Error:
                raise bad("an extended attribute is not base64") from None
    return found
