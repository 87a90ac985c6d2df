"""Byte streams on their way into the store: decompression by magic number, hashing, counting."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, cast

from migrate.errors import MigrateError
from migrate.images.errors import ImageArchiveBad, LayerUnsafe
from migrate.images.tarread import Source

CHUNK = 1 << 20
MAGIC_LENGTH = 6
ZSTD_WINDOW_LIMIT = 128 << 20  # what `zstd --long` writes at most
_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00"
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


def read_exactly(stream: Source, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end of the stream."""
    data = stream.read(size)
    if len(data) == size or not data:
        return data
    parts = [data]
    missing = size - len(data)
    while missing:
        data = stream.read(missing)
        if not data:
            break
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


class _Reader(io.RawIOBase):
    """A readable stream made of a `read(size)` function."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the start of `buffer`."""
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def is_compressed(magic: bytes) -> bool:
    """Whether a stream that begins with `magic` is gzip, zstd or xz."""
    return magic.startswith((_GZIP, _ZSTD, _XZ))


def decompressed(stream: Source) -> BinaryIO:
    """The plain bytes of a gzip, zstd, xz or plain stream, told apart by its first bytes.

    Damage found while reading raises ImageArchiveBad.
    """
    magic = read_exactly(stream, MAGIC_LENGTH)
    rest = magic

    def whole(size: int) -> bytes:
        nonlocal rest
        if rest:
            piece, rest = rest[:size], rest[size:]
            return piece
        return stream.read(size)

    plain: IO[bytes] = io.BufferedReader(_Reader(whole), CHUNK)
    if magic.startswith(_GZIP):
        plain = cast("IO[bytes]", gzip.GzipFile(fileobj=plain, mode="rb"))
    elif magic.startswith(_ZSTD):
        return _zstd(plain)
    elif magic.startswith(_XZ):
        plain = lzma.LZMAFile(plain, "rb")  # noqa: SIM115  closing it would close nothing of ours
    return cast("BinaryIO", io.BufferedReader(_Reader(_guarded(plain.read, _DAMAGED)), CHUNK))


def _zstd(stream: IO[bytes]) -> BinaryIO:
    """Every frame of a zstd stream. A cut-off frame just ends: the tar or the digest tells."""
    import zstandard

    factory = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT)
    source = factory.stream_reader(stream, read_across_frames=True, closefd=False)
    return cast(
        "BinaryIO",
        io.BufferedReader(_Reader(_guarded(source.read, (zstandard.ZstdError,))), CHUNK),
    )


def _guarded(
    read: Callable[[int], bytes], damage: tuple[type[Exception], ...]
) -> Callable[[int], bytes]:
    def guarded(size: int) -> bytes:
        try:
            return read(size)
        except damage as error:
            raise ImageArchiveBad(
                "the compressed data is damaged or cut off", cause=str(error)
            ) from error

    return guarded


@contextlib.contextmanager
def piped(write: Callable[[BinaryIO], object]) -> Iterator[BinaryIO]:
    """What `write` writes, read while a thread writes it; what it raises is raised here.

    A reader that finds the stream cut off is told why it was. A writer whose reader has stopped
    ends quietly.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with os.fdopen(writing, "wb") as out:
                write(out)
        except BrokenPipeError:
            pass
        except (MigrateError, OSError) as error:
            failures.append(error)

    writer = threading.Thread(target=work, name="piped", daemon=True)
    writer.start()
    try:
        with os.fdopen(reading, "rb") as stream:
            yield stream
    except ImageArchiveBad:
        writer.join()
        if not failures:
            raise
    writer.join()
    if failures:
        raise failures[0]


class HashingReader:
    """Passes a stream through, hashing every byte and handing it to `tee`.

    More than `limit` bytes raise LayerUnsafe: a small archive may unpack to terabytes.
    """

    def __init__(
        self, stream: Source, limit: int, tee: Callable[[bytes], object] | None = None
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._tee = tee
        self._hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        data = self._stream.read(size)
        self.count += len(data)
        if self.count > self._limit:
            raise LayerUnsafe(f"the layer is larger than the limit of {self._limit} bytes")
        self._hash.update(data)
        if self._tee is not None:
            self._tee(data)
        return data

    def drain(self) -> None:
        """Read to the end: the padding after a tar belongs to the digest too."""
        while self.read(CHUNK):
            pass

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of what has been read."""
        return f"sha256:{self._hash.hexdigest()}"


class CountingReader:
    """Passes a stream through and reports the bytes read so far."""

    def __init__(self, stream: Source, report: Callable[[int], None]) -> None:
        self._stream = stream
        self._report = report

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        data = self._stream.read(size)
        self._report(len(data))
        return data
