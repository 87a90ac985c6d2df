"""Files whose contents travel apart from the tar that names them: block by block, ahead of it.

And what the source has to know of trees that went ahead whole (`Staging`).

The source keeps a fingerprint of each block that it has sent, and later sends what differs. At the
target such a file has a number for its name, until the tar's entry takes it to its place.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from migrate.checkpoint.errors import StagedFileBad
from migrate.images.changes import Known, Signature
from migrate.images.errors import printable
from migrate.kernel.blocks import is_zero, segments
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

DIRECTORY = "staged"
BLOCK = 64 * 1024
_DIGEST = 16
_ZERO = bytes(_DIGEST)
_CHUNK_BLOCKS = 8  # what is read is hashed while it is in the processor's second cache
_TAKEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging(Protocol):
    """The source's side, while the container is frozen."""

    def look(self) -> None:
        """All processes are frozen, and nobody else works on them yet."""

    def content(self, descriptor: int, status: os.stat_result) -> int | None:
        """The number under which this open file's content is, or is about to be, at the target.

        None: it travels in the tar. `status` is the file's now.
        """

    def known(self, tree: str) -> Known | None:
        """What the target holds of the tree of that name (`files.Tree`)."""

    def unchanged(self, tree: str, before: Signature, status: os.stat_result) -> bool:
        """Whether it holds of an entry what is there now; `before`: as `known` has it."""


class Fingerprints:
    """What the other side holds of one file: its size, and xxh3-128 of each block of 64 KiB.

    A block of zeros has the fingerprint zero, as has one that was never sent: a hole.
    """

    def __init__(self) -> None:
        self.size = 0
        self._digests = bytearray()

    def delta(self, descriptor: int, size: int) -> Iterator[tuple[int, memoryview]]:
        """What to write, as (offset, bytes up to 512 KiB), after the other side was given `size`.

        With that the other side holds what was read. The bytes are good until the next step. What
        a file that shrinks meanwhile has no more counts as zeros. Raises OSError.
        """
        count = -(-size // BLOCK)
        del self._digests[count * _DIGEST :]
        self._digests.extend(bytes(count * _DIGEST - len(self._digests)))
        self.size, done = size, 0
        for offset, length, is_data in segments(descriptor, size):
            if not is_data:
                continue
            first, end = max(offset // BLOCK, done), -(-(offset + length) // BLOCK)
            yield from self._emptied(descriptor, done, first)
            yield from self._compared(descriptor, first, end)
            done = max(done, end)
        yield from self._emptied(descriptor, done, count)

    def _emptied(
        self, descriptor: int, first: int, end: int
    ) -> Iterator[tuple[int, memoryview]]:  # fmt: skip
        """Blocks that are a hole now: of interest only where the other side has something."""
        known = self._digests[first * _DIGEST : end * _DIGEST]
        if known.count(0) != len(known):
            yield from self._compared(descriptor, first, end)

    def _compared(
        self, descriptor: int, first: int, end: int
    ) -> Iterator[tuple[int, memoryview]]:  # fmt: skip
        buffer = bytearray(_CHUNK_BLOCKS * BLOCK)
        view = memoryview(buffer)
        for start in range(first, end, _CHUNK_BLOCKS):
            length = min(min(end, start + _CHUNK_BLOCKS) * BLOCK, self.size) - start * BLOCK
            got = _read(descriptor, view[:length], start * BLOCK)
            view[got:length] = bytes(length - got)
            for begin, until in self._changed(buffer, start, length):
                yield start * BLOCK + begin, view[begin:until]

    def _changed(self, buffer: bytearray, start: int, length: int) -> list[tuple[int, int]]:
        """The runs of changed blocks in a buffer that begins with block `start`."""
        from xxhash import xxh3_128_digest

        runs: list[tuple[int, int]] = []
        view = memoryview(buffer)
        for begin in range(0, length, BLOCK):
            until = min(begin + BLOCK, length)
            zero = is_zero(buffer, begin, until - begin)
            digest = _ZERO if zero else xxh3_128_digest(view[begin:until])
            at = (start + begin // BLOCK) * _DIGEST
            if self._digests[at : at + _DIGEST] == digest:
                continue
            self._digests[at : at + _DIGEST] = digest
            if runs and runs[-1][1] == begin:
                runs[-1] = (runs[-1][0], until)
            else:
                runs.append((begin, until))
        return runs


def _read(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill the view; less than that at the file's end."""
    got = 0
    while got < len(view):
        count = os.preadv(descriptor, [view[got:]], offset + got)
        if count == 0:
            break
        got += count
    return got


class StagedDirectory:
    """The target's side: files named by numbers, which others have written; a context manager."""

    def __init__(self, path: Path) -> None:
        """The directory need not be there: then there is no such file. Raises StagedFileBad."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, flags)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StagedFileBad("what was sent ahead is no directory", cause=str(error)) from error

    def __enter__(self) -> StagedDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def take(self, number: int, size: int, parent: int, name: bytes) -> None:
        """Move the file `number`, of `size` bytes, to `name` in the directory descriptor `parent`.

        It is gone from here then: no number serves twice. Raises StagedFileBad unless it is a
        regular file with no other name and of that size; OSError of the place.
        """
        if self._descriptor is None:
            raise _bad(number, name, "nothing was sent ahead")
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        try:
            descriptor = openat2(self._descriptor, str(number), _TAKEN, resolve=resolve)
        except OSError as error:
            raise _bad(number, name, str(error)) from error
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise _bad(number, name, "it is no regular file of one name")
        if status.st_size != size:
            raise _bad(number, name, f"it has {status.st_size} bytes instead of {size}")
        try:
            os.rename(str(number), name, src_dir_fd=self._descriptor, dst_dir_fd=parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(str(number), parent, name)
            return
        if not os.path.samestat(status, os.stat(name, dir_fd=parent, follow_symlinks=False)):
            raise _bad(number, name, "it was replaced meanwhile")

    def _copy(self, source: str, parent: int, name: bytes) -> None:
        """To another file system, holes kept."""
        inside = os.open(
            source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            size = os.fstat(inside).st_size
            out = os.open(name, flags, 0o600, dir_fd=parent)
            try:
                os.ftruncate(out, size)
                for offset, data in Fingerprints().delta(inside, size):
                    done = 0
                    while done < len(data):
                        done += os.pwrite(out, data[done:], offset + done)
            finally:
                os.close(out)
        finally:
            os.close(inside)
        os.unlink(source, dir_fd=self._descriptor)


def _bad(number: int, name: bytes, why: str) -> StagedFileBad:
    return StagedFileBad(
        f"the content of {printable(name)} was not sent ahead as it should have been",
        cause=f"file {number}: {why}",
    )
