"""Pagemap images: which pages of a process CRIU's images hold (CRIU, images/pagemap.proto).

They come from another host: sizes and counts are bounded before anything is believed.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Any

from migrate.criu.errors import ImageBad

PE_PARENT, PE_LAZY, PE_PRESENT = 1, 2, 4
"""Flags of an entry (CRIU, criu/include/pagemap.h)."""

_PARENT = "parent"  # CRIU, criu/include/image.h, CR_PARENT_LINK
SIZE_LIMIT = 256 << 20  # bytes of one image: entries of some 20 bytes each
ENTRY_LIMIT = 4096  # bytes
PAGES_LIMIT = 1 << 44  # 56 bits of addresses
_COMMON_MAGIC, _PAGEMAP_MAGIC = 0x5456_4319, 0x5608_4025  # CRIU, criu/include/magic.h
_PAGEMAP = re.compile(r"pagemap-(shmem-)?\d+\.img")
_HEAD = struct.pack("<II", _COMMON_MAGIC, _PAGEMAP_MAGIC)


def prepare_lazy(images: Path) -> int:
    """Have CRIU restore at once what its own images hold; the number of entries changed.

    A dump marks memory that *could* be restored lazily, also where the contents are in its images:
    with lazy pages, CRIU would leave it to the page server, which does not have it.

    And each process gets an older generation of images, with no pages in it. Only if there is one
    CRIU keeps the kernel from huge pages until all is restored (CRIU, criu/mem.c,
    maybe_disable_thp). Otherwise the first page that it restores at once makes the kernel fill 2
    MiB around it with zeros, on hosts where huge pages are `always`: pages that ought to be missing
    are there then, and no page server is ever asked for them. Raises ImageBad (nothing is changed
    in that image), OSError.
    """
    parent = images / _PARENT
    parent.mkdir(mode=0o700)
    changed = 0
    for name in sorted(path.name for path in images.iterdir()):
        if _PAGEMAP.fullmatch(name):
            path = images / name
            entries = read(path)
            changed += _make_eager(path, entries)
            if name[len("pagemap-")].isdigit():
                _write(parent / name, _serialized([entries[0]]))
                _write(parent / f"pages-{entries[0].pages_id}.img", b"")
    return changed


def _make_eager(path: Path, entries: list[Any]) -> int:
    changed = 0
    for entry in entries[1:]:
        if entry.flags & PE_LAZY and entry.flags & PE_PRESENT:
            entry.flags &= ~PE_LAZY
            changed += 1
    if changed:
        write(path, entries)
    return changed


def read(path: Path) -> list[Any]:
    """The image's messages: a pagemap_head, then pagemap_entry for each range of pages.

    Raises ImageBad, OSError.
    """
    from google.protobuf.message import DecodeError
    from pycriu.images import pagemap_pb2

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        raw = file.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT or raw[: len(_HEAD)] != _HEAD:
        raise ImageBad(f"{path.name} is no pagemap image", cause=f"{len(raw)} bytes were read")
    messages: list[Any] = []
    at = len(_HEAD)
    try:
        while at < len(raw):
            (size,) = struct.unpack_from("<I", raw, at)
            at += 4
            if size > min(ENTRY_LIMIT, len(raw) - at):
                raise ImageBad(f"{path.name} is damaged", cause=f"a message of {size} bytes")
            kind = pagemap_pb2.pagemap_entry if messages else pagemap_pb2.pagemap_head
            message = kind.FromString(raw[at : at + size])
            if not message.IsInitialized():  # some implementations of protobuf do not look
                raise ImageBad(f"{path.name} is damaged", cause="a field is missing")
            messages.append(message)
            at += size
    except (DecodeError, struct.error) as error:
        raise ImageBad(f"{path.name} is damaged", cause=str(error)) from error
    _check(path, messages)
    return messages


def _check(path: Path, messages: list[Any]) -> None:
    if not messages:
        raise ImageBad(f"{path.name} is damaged", cause="it is empty")
    reached = 0
    for entry in messages[1:]:
        pages = pages_of(entry)
        if entry.vaddr % 4096 or entry.vaddr < reached or not 0 < pages < PAGES_LIMIT:
            raise ImageBad(
                f"{path.name} is damaged", cause=f"{pages} pages at {entry.vaddr:#x}"
            )  # fmt: skip
        reached = entry.vaddr + pages * 4096


def pages_of(entry: Any) -> int:
    """How many pages an entry is for; the 64 bits of newer images before the 32 of older ones."""
    return int(entry.nr_pages if entry.HasField("nr_pages") else entry.compat_nr_pages)


def write(path: Path, messages: list[Any]) -> None:
    """Replace the image by one of these messages; raises OSError."""
    new = path.with_name(f".{path.name}.new")
    _write(new, _serialized(messages))
    new.rename(path)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _serialized(messages: list[Any]) -> bytes:
    parts = [_HEAD]
    for message in messages:
        raw = message.SerializeToString()
        parts += [struct.pack("<I", len(raw)), raw]
    return b"".join(parts)
