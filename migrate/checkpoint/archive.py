"""A checkpoint as one file (tar in one zstd frame) or as a directory: written, and verified.

Both begin with the manifest. Reading copies everything into a staging directory while it is
checked, so that what was checked is what gets used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from migrate.checkpoint import manifest as manifests
from migrate.checkpoint.errors import CheckpointBad
from migrate.checkpoint.manifest import MANIFEST_FILE, MANIFEST_LIMIT, Manifest, Member
from migrate.checkpoint.state import STATE_FILE, State, decode
from migrate.errors import DiskFull
from migrate.images.errors import ImageArchiveBad, LayerUnsafe, disk_full_told
from migrate.images.tarread import Kind, Limits, TarReader
from migrate.images.tarread import Member as TarMember
from migrate.images.tarwrite import END, header, padding
from migrate.kernel.files import fsync_directory

CHUNK = 1 << 20
LEVEL = 1  # memory is written at once while the container waits
WINDOW_LIMIT = 128 << 20
CHECKSUM_SIZE = 4
SPARE = 16 << 20  # bytes left free on the state directory's file system
Count = Callable[[str, int, int], None]  # phase, bytes done, bytes in all


def no_count(_phase: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def load_libraries() -> None:
    """What writing an archive loads, loaded now: the caller is about to freeze a container."""
    import zstandard  # noqa: F401


def measure(directory: Path, names: Iterable[str]) -> Iterator[Member]:
    """Size and digest of each file."""
    for name in names:
        digest = hashlib.sha256()
        size = 0
        with (directory / name).open("rb") as file:
            for data in _chunks(file):
                digest.update(data)
                size += len(data)
        yield Member(name, size, digest.hexdigest())


def write_archive(
    directory: Path, manifest: Manifest, out: BinaryIO, count: Count = no_count
) -> None:
    """Write the archive of `directory` to `out`; raises OSError."""
    import zstandard

    threads = min(os.cpu_count() or 1, 8)
    compressor = zstandard.ZstdCompressor(level=LEVEL, threads=threads, write_checksum=True)
    plain = manifest.encode()
    done = 0
    with compressor.stream_writer(out, closefd=False) as tar:
        tar.write(_header(MANIFEST_FILE, len(plain), manifest) + plain + padding(len(plain)))
        for member in manifest.members:
            tar.write(_header(member.name, member.size, manifest))
            with (directory / member.name).open("rb") as file:
                for data in _chunks(file):
                    tar.write(data)
                    done += len(data)
                    count("writing", done, manifest.total)
            tar.write(padding(member.size))
        tar.write(END)


def _header(name: str, size: int, manifest: Manifest) -> bytes:
    mtime_ns = int(manifest.time) * 10**9
    member = TarMember(name.encode(), Kind.FILE, mode=0o600, size=size, mtime_ns=mtime_ns)
    return header(member)


def seal_directory(directory: Path, manifest: Manifest) -> None:
    """Make a directory of checkpoint files a checkpoint: manifest, modes, durable."""
    with disk_full_told(directory):
        (directory / MANIFEST_FILE).write_bytes(manifest.encode())
        kept = {MANIFEST_FILE, *(member.name for member in manifest.members)}
        for top, _below, files in os.walk(directory, topdown=False):
            Path(top).chmod(0o700)
            for name in files:
                path = Path(top, name)
                if str(path.relative_to(directory)) not in kept:
                    path.unlink()
                    continue
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            fsync_directory(Path(top))


def unpack(source: Path, stage: Path, count: Count = no_count) -> tuple[Manifest, State]:
    """Verify the checkpoint `source`, and put a copy into the empty directory `stage`.

    Raises CheckpointBad, CheckpointTooNew, DiskFull; OSError when it can't be opened.
    """
    with disk_full_told(stage):
        if source.is_dir():
            found = _from_directory(source, stage, count)
        else:
            found = _from_archive(source, stage, count)
    state = decode((stage / STATE_FILE).read_bytes())
    manifests.check_against(found, state)
    return found, state


def _from_directory(source: Path, stage: Path, count: Count) -> Manifest:
    if not (source / MANIFEST_FILE).is_file():
        raise CheckpointBad(f"{source} is no checkpoint", cause=f"it has no {MANIFEST_FILE}")
    with _open(source / MANIFEST_FILE) as file:
        manifest = manifests.decode(file.read(MANIFEST_LIMIT + 1))
    receiver = _Receiver(manifest, stage, count)
    expected = {MANIFEST_FILE, *(member.name for member in manifest.members)}
    for top, below, files in os.walk(source):
        for name in (*files, *(b for b in below if Path(top, b).is_symlink())):
            relative = str(Path(top, name).relative_to(source))
            if relative not in expected:
                raise CheckpointBad(
                    "the checkpoint holds a file that its manifest does not name",
                    cause=ascii(relative)[:200],
                )
    for member in manifest.members:
        try:
            file = _open(source / member.name)
        except OSError as error:
            raise CheckpointBad("the checkpoint is not whole", cause=str(error)) from error
        with file:
            receiver.take(member, _chunks(file))
    return manifest


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading, never a link or something that blocks."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags), "rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK):
        yield data


class _Plain:
    """The tar inside a zstd frame whose checksum is compared by `finish`."""

    def __init__(self, file: BinaryIO) -> None:
        import xxhash
        import zstandard

        self._file = file
        self._damage = zstandard.ZstdError
        factory = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
        self._stream = factory.stream_reader(file, closefd=False)
        self._hash = xxhash.xxh64()

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        try:
            data = bytes(self._stream.read(size))
        except self._damage as error:
            raise CheckpointBad(
                "the checkpoint is damaged, or no checkpoint", cause=str(error)
            ) from error
        self._hash.update(data)
        return data

    def finish(self) -> None:
        """Only zeros follow, and the file ends with the frame's checksum (RFC 8878, 3.1.1)."""
        rest = self.read(CHUNK)
        if rest.strip(b"\0") or self.read(1):
            raise CheckpointBad("the checkpoint goes on behind its end")
        self._file.seek(-CHECKSUM_SIZE, os.SEEK_END)
        want = (self._hash.intdigest() & 0xFFFFFFFF).to_bytes(CHECKSUM_SIZE, "little")
        if self._file.read() != want:
            raise CheckpointBad(
                "the checkpoint's end is damaged", cause="cut off, or something follows"
            )


def _from_archive(source: Path, stage: Path, count: Count) -> Manifest:
    if source.exists() and (not source.is_file() or source.stat().st_size <= CHECKSUM_SIZE):
        raise CheckpointBad(f"{source} is no checkpoint", cause="it is empty, or no file")
    with source.open("rb") as file:
        plain = _Plain(file)
        # Sizes are bounded by the manifest, which is bounded itself.
        reader = TarReader(plain, Limits(1 << 50, 1 << 50, 200_000), need_end=True)
        try:
            manifest = _read_members(reader, stage, count)
        except (ImageArchiveBad, LayerUnsafe) as error:
            raise CheckpointBad(
                "the checkpoint is damaged, or no checkpoint", cause=f"{error.what}: {error.cause}"
            ) from error
        plain.finish()
    return manifest


def _read_members(reader: TarReader, stage: Path, count: Count) -> Manifest:
    manifest: Manifest | None = None
    receiver: _Receiver | None = None
    left: list[Member] = []
    for entry in reader:
        if entry.kind is not Kind.FILE or entry.segments is not None:
            raise CheckpointBad("the checkpoint is damaged", cause="a member is no plain file")
        name = entry.name.decode("ascii", "backslashreplace")
        if manifest is None or receiver is None:
            if name != MANIFEST_FILE or entry.size > MANIFEST_LIMIT:
                raise CheckpointBad("this is no checkpoint", cause="it begins otherwise")
            manifest = manifests.decode(b"".join(data for _, data in reader.chunks()))
            receiver = _Receiver(manifest, stage, count)
            left = list(reversed(manifest.members))
        elif not left or (name, entry.size) != (left[-1].name, left[-1].size):
            raise CheckpointBad(
                "the checkpoint does not hold what its manifest says",
                cause=f"unexpected: {ascii(name)[:200]}, {entry.size} bytes",
            )
        else:
            receiver.take(left.pop(), (data for _, data in reader.chunks()))
    if manifest is None or left:
        missing = left[-1].name if left else MANIFEST_FILE
        raise CheckpointBad("the checkpoint is cut off", cause=f"it lacks {missing}")
    return manifest


class _Receiver:
    """Writes members into the staging directory, each compared with its entry."""

    def __init__(self, manifest: Manifest, stage: Path, count: Count) -> None:
        self._stage, self._count, self._total, self._done = stage, count, manifest.total, 0
        free = shutil.disk_usage(stage).free
        if manifest.total + SPARE > free:
            raise DiskFull(
                f"no room to unpack the checkpoint below {stage.parent}",
                cause=f"{manifest.total >> 20} MiB needed, {free >> 20} MiB free",
            )
        for name in ("criu", "volumes"):
            (stage / name).mkdir(mode=0o700)

    def take(self, member: Member, chunks: Iterable[bytes]) -> None:
        """Write one member; raises CheckpointBad when it is not what the manifest says."""
        digest = hashlib.sha256()
        size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._stage / member.name, flags, 0o600), "wb") as out:
            for data in chunks:
                size += len(data)
                if size > member.size:
                    break
                digest.update(data)
                out.write(data)
                self._done += len(data)
                self._count("verifying", self._done, self._total)
        if size != member.size or digest.hexdigest() != member.sha256:
            raise CheckpointBad(
                "the checkpoint is damaged",
                cause=f"{member.name} has another size or digest than the manifest says",
            )
