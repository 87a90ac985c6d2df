"""Named blobs inside an image archive: a tar (plain or compressed) or a directory."""

from __future__ import annotations

import io
import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from migrate.images.errors import ImageArchiveBad
from migrate.images.model import DOCUMENT_LIMIT
from migrate.images.streams import CHUNK, MAGIC_LENGTH, decompressed, is_compressed
from migrate.images.tarread import Kind, Limits, TarReader
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

MARKS = ("oci-layout", "manifest.json")
_LINK_HOPS = 8
_LIMITS = Limits(total_bytes=1 << 40, apparent_bytes=1 << 40, members=2_000_000)


class Archive(Protocol):
    """A place that blobs are read from by name."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def open(self, name: str) -> BinaryIO:
        """Open it; raises ImageArchiveBad if there is none."""

    def size(self, name: str) -> int:
        """Its bytes; 0 if there is none."""


def read_document(archive: Archive, name: str) -> bytes:
    """A small JSON file, whole; raises ImageArchiveBad."""
    with archive.open(name) as file:
        data = file.read(DOCUMENT_LIMIT + 1)
    if len(data) > DOCUMENT_LIMIT:
        raise ImageArchiveBad(f"{name} in the archive is too large")
    return data


class DirectoryArchive:
    """An OCI layout in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self._directory / name).is_file()

    def size(self, name: str) -> int:
        """Its bytes."""
        return (self._directory / name).stat().st_size if self.has(name) else 0

    def open(self, name: str) -> BinaryIO:
        """Open it, beneath the directory only."""
        root = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
            return os.fdopen(openat2(root, name, os.O_RDONLY, resolve=resolve), "rb")
        except OSError as error:
            raise ImageArchiveBad(f"the archive lacks {name}", cause=str(error)) from error
        finally:
            os.close(root)


class _Window(io.RawIOBase):
    """A stretch of a file, read at its own position."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor = descriptor
        self._position, self._end = start, start + size

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the start of `buffer`."""
        wanted = min(len(buffer), self._end - self._position)
        data = os.pread(self._descriptor, wanted, self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class TarArchive:
    """An uncompressed tar in a file that stays open meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        file.seek(0)
        reader = TarReader(
            file, _LIMITS, need_end=True, skip=lambda size: file.seek(size, os.SEEK_CUR)
        )
        for member in reader:
            name = posixpath.normpath(os.fsdecode(member.name))
            link = os.fsdecode(member.link)
            if member.kind is Kind.FILE and member.segments is None:
                self._files[name] = (reader.offset, member.size)
            elif member.kind is Kind.SYMLINK:  # older `docker save` links layers that are the same
                target = posixpath.join(posixpath.dirname(name), link)
                self._links[name] = posixpath.normpath(target)
            elif member.kind is Kind.HARD_LINK:
                self._links[name] = posixpath.normpath(link)

    def _find(self, name: str) -> tuple[int, int] | None:
        name = posixpath.normpath(name)
        for _ in range(_LINK_HOPS):
            if name not in self._links:
                break
            name = self._links[name]
        return self._files.get(name)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._find(name) is not None

    def size(self, name: str) -> int:
        """Its bytes."""
        place = self._find(name)
        return place[1] if place else 0

    def open(self, name: str) -> BinaryIO:
        """Open it."""
        place = self._find(name)
        if place is None:
            raise ImageArchiveBad(f"the archive lacks {name[:200]!r}")
        return cast("BinaryIO", io.BufferedReader(_Window(self._descriptor, *place), CHUNK))


def _marked(stream: BinaryIO) -> bool:
    """Whether a tar has a file that image archives have."""
    names = {posixpath.normpath(os.fsdecode(m.name)) for m in TarReader(stream, _LIMITS)}
    return not names.isdisjoint(MARKS)


@contextmanager
def open_archive(path: Path, scratch: Path) -> Iterator[Archive | None]:
    """The image archive at `path`; None if it is a tar without any mark of one (a rootfs).

    A compressed archive is unpacked into an unnamed file in `scratch`, because its index may come
    last. Raises ImageArchiveBad.
    """
    if path.is_dir():
        yield DirectoryArchive(path)
        return
    with path.open("rb") as file:
        if not is_compressed(file.read(MAGIC_LENGTH)):
            archive = TarArchive(file)
            yield archive if any(archive.has(mark) for mark in MARKS) else None
            return
        file.seek(0)
        if not _marked(decompressed(file)):
            yield None
            return
        file.seek(0)
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as plain:
            stream = decompressed(file)
            while data := stream.read(CHUNK):
                plain.write(data)
            plain.flush()
            yield TarArchive(cast("BinaryIO", plain))
