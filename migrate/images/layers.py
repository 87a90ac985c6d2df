"""The layers of a store: each a zstd blob of its exact tar, and unpacked for overlay.

A layer exists once its record (`layers/sha256/<hex>.json`) does: that file is written last and
removed first, so that a crash leaves rubbish, never half a layer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from migrate.images.apply import apply_layer
from migrate.images.errors import (
    LayerDigestMismatch,
    LayerMissing,
    StoreDamaged,
    disk_full_told,
)
from migrate.images.model import check_digest
from migrate.images.rootdir import remove_tree
from migrate.images.streams import HashingReader, decompressed
from migrate.images.tarread import DEFAULT_LIMITS, Limits, Source
from migrate.kernel.files import fsync_directory, write_atomically
from migrate.kernel.sync import sync_file_system

COMPRESSION_LEVEL = 3


class LayerRecord(msgspec.Struct, frozen=True):
    """What is known of a stored layer; sizes in bytes, `blob_digest` of the zstd blob."""

    diff_id: str
    size: int
    blob_size: int
    blob_digest: str


class _HashingFile:
    """Writes to a file and hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)


class LayerStore:
    """The layers below a store's root; `Store` is what the rest of migrate uses."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def layer_directory(self, diff_id: str) -> Path:
        """The unpacked layer, fit to be an overlay lower; it need not exist yet."""
        return self.root / "layers" / "sha256" / _hex(diff_id)

    def layer_blob_path(self, diff_id: str) -> Path:
        """The zstd blob of the layer's tar; it need not exist yet."""
        return self.root / "blobs" / "sha256" / f"{_hex(diff_id)}.zst"

    def _record_path(self, diff_id: str) -> Path:
        return self.root / "layers" / "sha256" / f"{_hex(diff_id)}.json"

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is here, whole."""
        return self._record_path(diff_id).exists()

    def layer_record(self, diff_id: str) -> LayerRecord:
        """Sizes and blob digest of a layer; raises LayerMissing, StoreDamaged."""
        path = self._record_path(diff_id)
        try:
            return msgspec.json.decode(path.read_bytes(), type=LayerRecord)
        except FileNotFoundError:
            raise LayerMissing(f"the layer {diff_id} is not in the store {self.root}") from None
        except msgspec.MsgspecError as error:
            raise StoreDamaged(f"the record {path} can't be read", cause=str(error)) from error

    def open_layer_blob(self, diff_id: str) -> BinaryIO:
        """The zstd blob, opened for reading; raises LayerMissing."""
        self.layer_record(diff_id)
        return self.layer_blob_path(diff_id).open("rb")

    def open_layer_tar(self, diff_id: str) -> BinaryIO:
        """The exact bytes whose sha256 is the diff id; closing it closes the blob."""
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(self.open_layer_blob(diff_id))
        return cast("BinaryIO", reader)

    def layers(self) -> list[str]:
        """The diff ids of all layers, sorted."""
        records = (self.root / "layers" / "sha256").glob("*.json")
        return sorted(f"sha256:{path.stem}" for path in records)

    def add_layer(
        self,
        stream: Source,
        expected_diff_id: str | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> str:
        """Store a layer from its tar (plain, gzip, zstd or xz); returns its diff id.

        Reads `stream` to its end, or not at all if the expected layer is here already. Nothing
        changes on failure: LayerDigestMismatch, LayerUnsafe, ImageArchiveBad, DiskFull.
        """
        if expected_diff_id is not None and self.has_layer(check_digest(expected_diff_id)):
            return expected_diff_id
        with disk_full_told(self.root), self.hold(), self._temporary() as temporary:
            record = self._unpack(stream, temporary, limits, need_end=expected_diff_id is None)
            if expected_diff_id not in {None, record.diff_id}:
                raise LayerDigestMismatch(
                    f"a layer that should be {expected_diff_id} is {record.diff_id}"
                )
            with self.hold(exclusive=True, purpose="commit"):
                if not self.has_layer(record.diff_id):
                    self._commit(temporary, record)
        return record.diff_id

    def _unpack(
        self, stream: Source, temporary: Path, limits: Limits, *, need_end: bool
    ) -> LayerRecord:
        """Unpack and compress in one reading; the digests come out with it."""
        import zstandard

        directory = temporary / "layer"
        directory.mkdir()
        directory.chmod(0o755)  # the container's root, where the layer says nothing
        with (temporary / "blob").open("xb") as file:
            blob = _HashingFile(file)
            compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, threads=2)
            with compressor.stream_writer(cast("BinaryIO", blob), closefd=False) as writer:
                reader = HashingReader(decompressed(stream), limits.total_bytes, writer.write)
                apply_layer(reader, directory, limits=limits, need_end=need_end)
                reader.drain()
        return LayerRecord(
            reader.digest, reader.count, blob.size, f"sha256:{blob.hash.hexdigest()}"
        )

    def _commit(self, temporary: Path, record: LayerRecord) -> None:
        sync_file_system(temporary)
        directory, blob = self.layer_directory(record.diff_id), self.layer_blob_path(record.diff_id)
        for parent in (directory.parent, blob.parent):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.exists():  # left by a crash before its record was written
            remove_tree(directory)
        (temporary / "blob").rename(blob)
        (temporary / "layer").rename(directory)
        fsync_directory(blob.parent)
        write_atomically(self._record_path(record.diff_id), msgspec.json.encode(record))

    def _drop_layer(self, diff_id: str) -> int:
        """Remove a layer, its record first; returns the bytes freed on disk."""
        self._record_path(diff_id).unlink(missing_ok=True)
        freed = 0
        blob, directory = self.layer_blob_path(diff_id), self.layer_directory(diff_id)
        if blob.exists():
            freed += blob.stat().st_blocks * 512
            blob.unlink()
        if directory.exists():
            freed += remove_tree(directory)
        return freed

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A private directory on the same file system, gone at the end."""
        path = self.root / "tmp" / secrets.token_hex(8)
        path.mkdir(mode=0o700, parents=True)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                remove_tree(path)

    @contextlib.contextmanager
    def hold(self, *, exclusive: bool = False, purpose: str = "store") -> Iterator[None]:
        """Keep `prune` away while layers and the image that names them are put in."""
        import fcntl

        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.root / f".{purpose}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)


def _hex(diff_id: str) -> str:
    return check_digest(diff_id).removeprefix("sha256:")
