"""What the sender sends: files, the pieces of them, and how a piece becomes frames."""

from __future__ import annotations

import os
import queue
import threading
import time
from dataclasses import dataclass, field

from migrate.kernel.blocks import is_zero
from migrate.transfer.deltas import SentPages
from migrate.transfer.errors import DataDamaged
from migrate.transfer.frames import (
    UNKNOWN_SIZE,
    Buffer,
    Kind,
    frame,
    hole_payload,
    pack,
    parse_done,
)
from migrate.transfer.links import DataLink
from migrate.transfer.packs import PackPiece
from migrate.transfer.pages import AskedPage, Packer, PagesPiece

CHUNK = 1024 * 1024
"""Bytes of a file that one link sends at a time."""

ZERO_BLOCK = 64 * 1024
"""Granularity in which zeros are looked for."""


class OutgoingFile:
    """A file on its way; it ends when the producer and all pieces have released it.

    `size` None: not known before the end; `descriptor` None: the pieces bring their bytes.
    """

    def __init__(
        self, number: int, name: str, *, size: int | None, mode: int, descriptor: int | None
    ) -> None:
        self.number = number
        self.name = os.fsencode(name)
        self.size = size
        self.mode = mode
        self.descriptor = descriptor
        self.final_size = UNKNOWN_SIZE
        self.finished = False
        self._holders = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """One more piece is on its way."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """A piece was sent, or the producer is done."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
            self.finished = True
        if self.descriptor is not None:
            os.close(self.descriptor)


@dataclass
class Piece:
    """A range of a file: to be read (neither buffer nor hole), in `buffer`, or a hole."""

    file: OutgoingFile
    offset: int
    length: int
    is_hole: bool = False
    buffer: bytearray | None = None
    pool: queue.SimpleQueue[bytearray] | None = field(default=None, repr=False)

    def hold(self) -> None:
        """It is on its way."""
        self.file.hold()

    def release(self) -> None:
        """It was sent or given up: its buffer and its file are free."""
        if self.buffer is not None and self.pool is not None:
            self.pool.put(self.buffer)
        self.file.release()


class Lane:
    """A link with the files that are open on it; used by one thread at a time."""

    def __init__(self, link: DataLink, sent: SentPages | None = None) -> None:
        """`sent`: pages that the other side can be given as what differs."""
        self.link = link
        self.opened_total = 0
        self.payload_bytes = 0
        self._open: dict[int, OutgoingFile] = {}
        self._buffer = bytearray(CHUNK)
        self._sent = sent
        self._packer = Packer(sent)

    def send(
        self, piece: Piece | PagesPiece | AskedPage | PackPiece, limiter: RateLimiter | None
    ) -> None:  # fmt: skip
        """Send a piece and what has to go before it; raises MigrateError, OSError."""
        frames: list[Buffer] = self._closing_frames()
        if isinstance(piece, PackPiece):
            frames += piece.frames()
            self.opened_total += piece.count
            self.payload_bytes += piece.length
        else:
            self._add(frames, piece)
        size = sum(map(len, frames))
        begun = time.monotonic()
        if limiter is not None:
            limiter.take(size)
        self.link.write(frames)
        if self._sent is not None:
            self._sent.link_took(size, time.monotonic() - begun)

    def _add(self, frames: list[Buffer], piece: Piece | PagesPiece | AskedPage) -> None:
        """The frames of a piece of a file."""
        file = piece.file
        if file.number not in self._open:
            frames.append(self._opening_frame(file))
        if isinstance(piece, AskedPage):
            pages, size = piece.frames()
            frames += pages
            self.payload_bytes += size
        elif isinstance(piece, PagesPiece):
            pages, size = self._packer.frames(piece)
            frames += pages
            self.payload_bytes += size
        elif piece.is_hole:
            frames.append(_hole(file, piece.offset, piece.length))
        elif piece.buffer is not None:
            self._add_data(frames, file, piece.offset, piece.buffer, piece.length)
        elif piece.length:
            length = self._read(piece)
            self._add_data(frames, file, piece.offset, self._buffer, length)

    def flush(self, token: int, flags: int) -> None:
        """Close the finished files and send FLUSH."""
        frames = self._closing_frames()
        frames.append(frame(Kind.FLUSH, flags=flags, offset=token))
        self.link.write(frames)

    def await_done(self, token: int, deadline: float) -> None:
        """Wait for the answer to a FLUSH; raises DataDamaged when the other side counts otherwise.

        `deadline` by the monotonic clock. Raises what the link raises.
        """
        while True:
            header, payload = self.link.answer(Kind.DONE, "the end of a transfer", deadline)
            if header.offset == token:
                break
        files, payload_bytes = parse_done(payload)
        if (files, payload_bytes) != (self.opened_total, self.payload_bytes):
            raise DataDamaged(
                f"{self.link.target} has received something else than was sent",
                cause=f"{files} files and {payload_bytes} bytes there, {self.opened_total} and "
                f"{self.payload_bytes} here",
            )

    def _opening_frame(self, file: OutgoingFile) -> bytes:
        self._open[file.number] = file
        self.opened_total += 1
        size = UNKNOWN_SIZE if file.size is None else file.size
        return frame(Kind.OPEN, file.name, mode=file.mode, file=file.number, offset=size)

    def _closing_frames(self) -> list[Buffer]:
        done = [file for file in self._open.values() if file.finished]
        for file in done:
            del self._open[file.number]
        return [frame(Kind.CLOSE, file=file.number, offset=file.final_size) for file in done]

    def _read(self, piece: Piece) -> int:
        """Fill our buffer from the file; less than asked for if the file has shrunk meanwhile."""
        assert piece.file.descriptor is not None
        view, got = memoryview(self._buffer)[: piece.length], 0
        while got < piece.length:
            count = os.preadv(piece.file.descriptor, [view[got:]], piece.offset + got)
            if count == 0:
                break
            got += count
        return got

    def _add_data(
        self, frames: list[Buffer], file: OutgoingFile, offset: int, buffer: bytearray, length: int
    ) -> None:
        view = memoryview(buffer)
        for start, end, zero in zero_runs(buffer, length):
            if zero:
                frames.append(_hole(file, offset + start, end - start))
                continue
            data = view[start:end]
            frames += [pack(Kind.DATA, data, file=file.number, offset=offset + start), data]
            self.payload_bytes += end - start


def _hole(file: OutgoingFile, offset: int, length: int) -> bytes:
    return frame(Kind.HOLE, hole_payload(length), file=file.number, offset=offset)


def zero_runs(buffer: bytearray, length: int) -> list[tuple[int, int, bool]]:
    """The runs (start, end, is_zero) of the first `length` bytes, in blocks of ZERO_BLOCK."""
    runs: list[tuple[int, int, bool]] = []
    for start in range(0, length, ZERO_BLOCK):
        end = min(start + ZERO_BLOCK, length)
        zero = is_zero(buffer, start, end - start)
        if runs and runs[-1][2] == zero:
            runs[-1] = (runs[-1][0], end, zero)
        else:
            runs.append((start, end, zero))
    return runs


class RateLimiter:
    """Spaces out what several threads send to `rate` bytes a second together."""

    def __init__(self, rate: int, stopped: threading.Event) -> None:
        self._rate = rate
        self._stopped = stopped
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Wait until `count` bytes may be sent, or until `stopped`."""
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self._rate
        if start > now:
            self._stopped.wait(start - now)
