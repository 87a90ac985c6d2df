"""The sender of the data connections: files over several links at once."""

from __future__ import annotations

import functools
import itertools
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from migrate.errors import InternalError, MigrateError
from migrate.kernel.blocks import segments
from migrate.kernel.files import (
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    directory_descriptor,
    openat2,
)
from migrate.transfer.deltas import SentPages
from migrate.transfer.errors import (
    ConnectionLost,
    PathRefused,
    TimeLimitExceeded,
)
from migrate.transfer.frames import SYNC_FLAG
from migrate.transfer.links import DataLink, open_links
from migrate.transfer.outgoing import CHUNK, Lane, OutgoingFile, Piece, RateLimiter
from migrate.transfer.packs import Packing, PackPiece, is_small
from migrate.transfer.pages import ADDRESS_SPACE, PagesPiece, Read, cut
from migrate.transfer.remote import agent_command_line
from migrate.transfer.target import Target
from migrate.transfer.workers import LOOK_EVERY, Workers

if TYPE_CHECKING:
    import numpy

OPEN_SECONDS = 20.0
FLUSH_SECONDS = 120.0
DEFAULT_CONNECTIONS = 2

Progress = Callable[[int], None]
"""Told the bytes of files (zeros included) just sent; one call at a time, from a thread of ours."""

_Piece = Piece | PagesPiece | PackPiece
_Item = tuple[_Piece, Progress | None]


class Readable(Protocol):
    """A byte stream that ends by itself: a tar being made, a pipe."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read up to the buffer's size; 0 at the end."""


class BulkSender:
    """Open data connections and the threads that feed them. A context manager.

    Several threads may send files of different names; the other methods are for one thread while
    nobody sends. After an error every method raises it again, until `close` or `abort`. Files are
    named relative to the receiver's root; a file is sent whole, and replaces one of the same name
    (but for `send_blocks` and `send_pages`).
    """

    def __init__(
        self, links: list[DataLink], *, rate_limit: int | None = None, deltas: bool = False,
        packs: bool = False,
    ) -> None:  # fmt: skip
        self._packs = packs
        self._sent = SentPages() if deltas else None
        self._lanes = [Lane(link, self._sent) for link in links]
        self._stopped = threading.Event()
        self._limiter = RateLimiter(rate_limit, self._stopped) if rate_limit else None
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(3 * len(links)):
            self._buffers.put(bytearray(CHUNK))
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        self._names: set[str] = set()
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._progress_lock = threading.Lock()
        self._file_bytes = 0
        work = [functools.partial(self._send, lane) for lane in self._lanes]
        self._workers: Workers[_Item] = Workers(work, self._fail, "bulk-sender")

    @classmethod
    def open(
        cls,
        target: Target,
        root_token: str,
        *,
        connections: int = DEFAULT_CONNECTIONS,
        rate_limit: int | None = None,
        deltas: bool = False,
        packs: bool = False,
        command: str | None = None,
        timeout: float = OPEN_SECONDS,
    ) -> BulkSender:
        """Open and warm the connections: their receivers are ready on return.

        `rate_limit`: bytes a second of all together. `deltas`: the receiver takes pages as what
        differs from those that it has, `packs`: small files many to a frame (its facts say so).
        `command`: migrate's path at the target.
        Raises what `migrate.transfer.links.open_links` raises.
        """
        line = agent_command_line(command, ("--data", root_token))
        links = open_links(target, line, connections, timeout)
        return cls(links, rate_limit=rate_limit, deltas=deltas, packs=packs)

    @property
    def wire_bytes(self) -> int:
        """Bytes put on the connections, headers included (before SSH's own)."""
        return sum(lane.link.wire_bytes for lane in self._lanes)

    @property
    def payload_bytes(self) -> int:
        """Bytes of files put on the connections: without zeros and headers."""
        return sum(lane.payload_bytes for lane in self._lanes)

    @property
    def file_bytes(self) -> int:
        """Bytes of files dealt with, zeros and holes included."""
        return self._file_bytes

    def send_files(
        self, base: Path, relative_paths: Iterable[str], progress: Progress | None = None
    ) -> None:
        """Send regular files beneath `base` under the same relative names.

        Returns when all is read and on its way; `flush` tells when it is there. Raises
        PathRefused for a link or no regular file, OSError for one that can't be read.
        """
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        packing = Packing()
        with directory_descriptor(base) as base_fd:
            for name in relative_paths:
                descriptor = openat2(base_fd, name, flags, resolve=resolve)
                if self._packs and is_small(descriptor):
                    packing.take_in(descriptor, name)
                    self._use_name(name)
                else:
                    self._send_regular(descriptor, name, progress)
                if packing.is_full:
                    self._put_pack(packing, progress)
        self._put_pack(packing, progress)

    def _put_pack(self, packing: Packing, progress: Progress | None) -> None:
        if (piece := packing.take()) is not None:
            self._put(piece, progress)

    def send_file_from(self, descriptor: int, name: str, progress: Progress | None = None) -> None:
        """Send what is behind a descriptor, which stays the caller's, as `name`.

        A regular file from its beginning; a pipe or socket until it ends.
        """
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._send_regular(os.dup(descriptor), name, progress)
        else:
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as stream:
                self.send_stream(stream, name, progress)

    def send_stream(self, stream: Readable, name: str, progress: Progress | None = None) -> None:
        """Send a byte stream of unknown length as the file `name`; returns at its end."""
        file = self._new_file(name, size=None, mode=0o600, descriptor=None)
        offset = 0
        try:
            while True:
                buffer = self._take_buffer()
                try:
                    length = _fill(stream, buffer)
                except BaseException:
                    self._buffers.put(buffer)
                    raise
                self._put(Piece(file, offset, length, False, buffer, self._buffers), progress)
                offset += length
                if length < CHUNK:
                    break
            file.final_size = offset
        finally:
            file.release()

    def send_blocks(
        self, name: str, size: int, blocks: Iterable[tuple[int, memoryview]],
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Give the file `name` a size in bytes, and write (offset, up to 1 MiB) into it.

        What it held elsewhere stays; it is made if need be. The bytes are copied before the next
        are asked for. Raises what `blocks` raises.
        """
        file = self._new_file(name, size=size, mode=0o600, descriptor=None)
        try:
            self._put(Piece(file, 0, 0), progress)
            for offset, data in blocks:
                buffer = self._take_buffer()
                buffer[: len(data)] = data
                piece = Piece(file, offset, len(data), False, buffer, self._buffers)
                self._put(piece, progress)
        finally:
            file.release()

    def send_pages(
        self, name: str, runs: numpy.ndarray, read: Read, progress: Progress | None = None, *,
        fresh: bool = False,
    ) -> None:  # fmt: skip
        """Send page runs of a process into the file `name`, each page at its address.

        `runs` has the shape (n, 2), uint64: [start, end) in bytes, page-aligned, ascending. They
        are read by threads of ours, until the next `flush` returns. `fresh`: none of them was sent
        before. Raises what reading raises.
        """
        self._send_parts(name, cut(runs), read, progress, fresh=fresh)

    def send_awaited(
        self, name: str, parts: Iterable[numpy.ndarray], read: Read,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Like `send_pages`, with each page written down as arrived in `name`.arrived.

        `parts`: runs of at most CHUNK bytes and RUNS runs, asked for when there is room for them.
        """
        self._send_parts(name, parts, read, progress, awaited=True)

    def _send_parts(
        self, name: str, parts: Iterable[numpy.ndarray], read: Read, progress: Progress | None,
        *, fresh: bool = False, awaited: bool = False,
    ) -> None:  # fmt: skip
        file = self._new_file(name, size=ADDRESS_SPACE, mode=0o600, descriptor=None)
        try:
            for part in parts:
                self._put(PagesPiece(file, part, read, fresh, awaited), progress)
        finally:
            file.release()

    def flush(self, timeout: float = FLUSH_SECONDS, *, sync: bool = False) -> None:
        """Return when all that was sent is written at the other side, with `sync` to the disk.

        Raises TimeLimitExceeded, DataDamaged if the other side counts otherwise, and any error of
        the transfer so far.
        """
        deadline = time.monotonic() + timeout
        if not self._workers.wait(timeout) and not self._workers.died:
            raise TimeLimitExceeded(f"the data was not sent within {timeout:g} seconds")
        self._check()
        token = next(self._tokens)
        try:
            for lane in self._lanes:
                lane.flush(token, SYNC_FLAG if sync else 0)
            for lane in self._lanes:
                lane.await_done(token, deadline)
        except TimeLimitExceeded:
            raise
        except MigrateError as error:
            self._fail(error)
            raise
        self._names.clear()
        if self._sent is not None:
            self._sent.end_round()

    def close(self) -> None:
        """End the connections; what was not flushed may be lost. Safe to repeat."""
        if self._failure is not None:
            self.abort()
            return
        self._workers.stop()
        for lane in self._lanes:
            lane.link.close()
        self._failure = ConnectionLost("the data connections were closed")

    def abort(self) -> None:
        """Cut the connections at once; files may stay half-written at the other side."""
        self._fail(ConnectionLost("the transfer was given up"))
        self._workers.stop()
        for lane in self._lanes:
            lane.link.close()

    def __enter__(self) -> BulkSender:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _send_regular(self, descriptor: int, name: str, progress: Progress | None) -> None:
        """Takes over the descriptor."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise PathRefused(f"{name!r} is no regular file", mend="send it in an archive")
        try:
            file = self._new_file(
                name, size=status.st_size, mode=status.st_mode & 0o777, descriptor=descriptor
            )
        except BaseException:
            os.close(descriptor)
            raise
        try:
            if status.st_size == 0:
                self._put(Piece(file, 0, 0), progress)
            for offset, length, is_data in segments(descriptor, status.st_size):
                if not is_data:
                    self._put(Piece(file, offset, length, is_hole=True), progress)
                    continue
                for start in range(offset, offset + length, CHUNK):
                    size = min(CHUNK, offset + length - start)
                    self._put(Piece(file, start, size), progress)
        finally:
            file.release()

    def _new_file(
        self, name: str, *, size: int | None, mode: int, descriptor: int | None
    ) -> OutgoingFile:
        self._use_name(name)
        number = next(self._numbers) & 0xFFFFFFFF
        return OutgoingFile(number, name, size=size, mode=mode, descriptor=descriptor)

    def _use_name(self, name: str) -> None:
        self._check()
        if name in self._names:
            # Two versions under way on different links could mix.
            self.flush()
        self._names.add(name)

    def _put(self, piece: _Piece, progress: Progress | None) -> None:
        if self._failure is not None:
            if isinstance(piece, Piece) and piece.buffer is not None:
                self._buffers.put(piece.buffer)
            self._check()
        piece.hold()
        if not self._workers.put((piece, progress)):
            piece.release()
            self._check()

    def _take_buffer(self) -> bytearray:
        while True:
            try:
                return self._buffers.get(timeout=LOOK_EVERY)
            except queue.Empty:
                if self._workers.died:
                    self._check()

    def _send(self, lane: Lane, item: _Item) -> None:
        piece, progress = item
        try:
            if self._failure is None:
                lane.send(piece, self._limiter)
                self._count(piece.length, progress)
        except Exception as error:  # noqa: BLE001  raised again in the caller's thread
            self._fail(error)
        finally:
            piece.release()

    def _count(self, length: int, progress: Progress | None) -> None:
        with self._progress_lock:
            self._file_bytes += length
            if progress is not None:
                progress(length)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self._stopped.set()
        for lane in self._lanes:
            lane.link.abort()

    def _check(self) -> None:
        if isinstance(self._failure, MigrateError | OSError | MemoryError):
            raise self._failure
        if self._failure is not None:
            raise InternalError("a transfer failed", cause=repr(self._failure)) from self._failure


def _fill(stream: Readable, buffer: bytearray) -> int:
    """Read until the buffer is full or the stream ends."""
    view, got = memoryview(buffer), 0
    while got < len(buffer):
        count = stream.readinto(view[got:])
        if not count:
            break
        got += count
    return got
