"""Timers of timerfd_create(2) in the image of open files, which CRIU would restore without a tick.

A periodic timer that expires is set anew only when it is read (Linux, fs/timerfd.c, timerfd_read).
One that expired unread, as each does in a pause that is longer than its period, is dumped with
nothing left until it expires, and would be restored as one that never does: the read after the next
would wait for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from migrate.criu.errors import ImageBad

_NAME = "files.img"
_HEAD = 8  # bytes: the magics of an image, and of this kind (CRIU, criu/include/magic.h)
_TIMER = b"\x08\x11"
"""How a `file_entry` of the type TIMERFD begins (CRIU, images/fdinfo.proto)."""


def revive(images: Path) -> None:
    """Let each that waits to be read expire at once, which sets it anew; its count stays.

    Raises OSError, ImageBad.
    """
    path = images / _NAME
    raw = path.read_bytes()
    if _TIMER not in raw:
        return
    changed = b"".join(
        struct.pack("<I", len(entry)) + entry for entry in map(_revived, _entries(raw))
    )
    if changed != raw[_HEAD:]:
        new = path.with_name(f".{_NAME}.new")
        new.write_bytes(raw[:_HEAD] + changed)
        new.chmod(0o600)
        new.rename(path)


def _entries(raw: bytes) -> Iterator[bytes]:
    at = _HEAD
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if at + size > len(raw):
            raise ImageBad(f"the image {_NAME} is cut off")
        yield raw[at : at + size]
        at += size


def _revived(entry: bytes) -> bytes:
    if not entry.startswith(_TIMER):
        return entry
    from google.protobuf.message import DecodeError
    from pycriu.images import fdinfo_pb2

    try:
        file = fdinfo_pb2.file_entry.FromString(entry)
    except DecodeError as error:
        raise ImageBad(f"a timer in the image {_NAME} can't be read", cause=str(error)) from error
    timer = file.tfd
    waits = timer.ticks and not timer.vsec and not timer.vnsec
    if not (waits and (timer.isec or timer.insec)):
        return entry
    timer.vnsec = 1
    return bytes(file.SerializeToString())
