"""Pages of memory on their way: cut into frames, zeros left out, made small where that helps.

A page's offset in its file is its address, so that every round of a move writes to the same slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrate.transfer.frames import (
    ARRIVAL_FLAG,
    PAGE,
    XOR_FLAG,
    ZSTD_FLAG,
    Buffer,
    Kind,
    pack,
    pages_table,
    xor_digest,
)

if TYPE_CHECKING:
    import numpy

    from migrate.transfer.deltas import SentPages
    from migrate.transfer.outgoing import OutgoingFile

ADDRESS_SPACE = 1 << 56
"""Bytes; the size of a file of pages. All but what was sent is a hole."""
CHUNK = 1024 * 1024
"""Bytes of pages in one frame, before compression."""
RUNS = 1024
"""Runs in one frame: as many as one process_vm_readv(2) takes."""
_ZEROS = bytes(PAGE)
_LEVEL = 1  # of zstd
_WORTH = 0.85  # compressed to more than this share it is not worth the receiver's time
_SKIPPED = 15  # frames that are then sent as they are

Read = Callable[["numpy.ndarray", bytearray], "numpy.ndarray"]
"""Reads runs into a buffer; the runs that were there (migrate.kernel.memory.read_runs)."""


@dataclass
class PagesPiece:
    """Runs of pages for one frame, (n, 2) uint64, read when its turn comes."""

    file: OutgoingFile
    runs: numpy.ndarray
    read: Read
    fresh: bool
    """Nothing was sent for these addresses yet: zeros need not be said."""
    awaited: bool = False
    """Somebody waits for them: each is to be written down as arrived, zeros too."""

    @property
    def length(self) -> int:
        """Bytes."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    def hold(self) -> None:
        """It is on its way."""
        self.file.hold()

    def release(self) -> None:
        """It was sent or given up."""
        self.file.release()


@dataclass(frozen=True)
class AskedPage:
    """One page that somebody waits for, read already; `offset` in bytes, `content` whole."""

    file: OutgoingFile
    offset: int
    content: bytes

    @property
    def length(self) -> int:
        """Bytes."""
        return PAGE

    def frames(self) -> tuple[list[Buffer], int]:
        """Its frame, and how many bytes of pages that carries; compressing takes too long."""
        run = [(self.offset, PAGE)]
        if self.content == _ZEROS:
            payload: list[Buffer] = [pages_table([], run)]
        else:
            payload = [pages_table(run, []), self.content]
        head = pack(Kind.PAGES, *payload, flags=ARRIVAL_FLAG, file=self.file.number)
        return [head, *payload], PAGE * (len(payload) - 1)


def cut(runs: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """Runs of any length as groups of at most CHUNK bytes and RUNS runs."""
    import numpy as np

    if len(runs) <= RUNS and int((runs[:, 1] - runs[:, 0]).sum()) <= CHUNK:
        if len(runs):
            yield runs
        return
    start, end = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64)
    parts = -((start - end) // CHUNK)
    which = np.repeat(np.arange(len(runs)), parts)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    first = start[which] + nth * CHUNK
    last = np.minimum(first + CHUNK, end[which])
    pieces = np.stack([first, last], axis=1).astype(np.uint64)
    sizes = np.cumsum(last - first)
    at, sent = 0, 0
    while at < len(pieces):
        stop = int(np.searchsorted(sizes, sent + CHUNK, side="right"))
        stop = min(stop, at + RUNS)
        yield pieces[at:stop]
        at, sent = stop, int(sizes[stop - 1])


def _addresses(runs: numpy.ndarray) -> numpy.ndarray:
    """The address of each page of the runs, in order."""
    import numpy as np

    counts = ((runs[:, 1] - runs[:, 0]) // PAGE).astype(np.int64)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    pages: numpy.ndarray = np.repeat(runs[:, 0], counts) + (nth * PAGE).astype(np.uint64)
    return pages


def _runs(addresses: numpy.ndarray) -> list[tuple[int, int]]:
    """(offset, length) of the runs that pages in ascending order form."""
    import numpy as np

    if not len(addresses):
        return []
    breaks = np.flatnonzero(np.diff(addresses) != PAGE) + 1
    groups = np.split(addresses, breaks)
    return [(int(group[0]), len(group) * PAGE) for group in groups]


class Packer:
    """Makes frames of one link; remembers what was worth it."""

    def __init__(self, sent: SentPages | None = None) -> None:
        """`sent`: what the other side holds, if it can be given what differs from that."""
        self._buffer = bytearray(CHUNK)
        self._sent = sent
        self._compressor: object = None
        self._to_skip = 0
        self._deltas_to_skip = 0
        self._share = 1.0  # of their size, to which contents were compressed the last time

    def frames(self, piece: PagesPiece) -> tuple[list[Buffer], int]:
        """The frames of a piece, and how many bytes of pages they carry."""
        runs = piece.read(piece.runs, self._buffer)
        if self._sent is None or piece.fresh:
            return self._plain(piece, *self._without_zeros(runs))
        if piece.awaited or not self._sent.pay():
            if len(self._sent):
                self._sent.forget(piece.file.name, _addresses(runs))
            return self._plain(piece, *self._without_zeros(runs))
        return self._with_deltas(piece, runs, self._sent)

    def _plain(
        self, piece: PagesPiece, data: list[tuple[int, int]], zeros: list[tuple[int, int]],
        content: Buffer,
    ) -> tuple[list[Buffer], int]:  # fmt: skip
        size = len(content)
        if piece.fresh:
            zeros = []
        if not data and not zeros:
            return [], 0
        content, flags = self._compressed(content)
        if piece.awaited:
            flags |= ARRIVAL_FLAG
        return _frame(piece, flags, pages_table(data, zeros), content), size

    def _with_deltas(
        self, piece: PagesPiece, runs: numpy.ndarray, sent: SentPages
    ) -> tuple[list[Buffer], int]:  # fmt: skip
        """What is known to the other side as what differs, the rest as it is."""
        import numpy as np

        name, addresses = piece.file.name, _addresses(runs)
        pages = np.frombuffer(self._buffer, dtype=np.uint8, count=len(addresses) * PAGE)
        pages = pages.reshape(-1, PAGE)
        filled = np.bitwise_or.reduce(pages.view(np.uint64), axis=1) != 0
        sent.forget(name, addresses[~filled])
        begun = time.monotonic()
        known, base = sent.look(name, addresses)
        delta = self._delta(piece, addresses[known], pages[known], base) if known.any() else []
        sent.keep(name, addresses[filled], pages[filled])
        sent.took(pages.size, time.monotonic() - begun)
        rest = filled & ~known if delta else filled
        frames, size = self._plain(
            piece, _runs(addresses[rest]), _runs(addresses[~filled]),
            memoryview(pages[rest].tobytes()),
        )  # fmt: skip
        return delta + frames, size + (int(known.sum()) * PAGE if delta else 0)

    def _delta(
        self, piece: PagesPiece, addresses: numpy.ndarray, pages: numpy.ndarray,
        base: numpy.ndarray,
    ) -> list[Buffer]:  # fmt: skip
        """The frame of what differs from `base`; none where that saves too little."""
        if self._deltas_to_skip:
            self._deltas_to_skip -= 1
            return []
        packed = self._zstd(memoryview((pages ^ base).tobytes()))
        if len(packed) > pages.size * min(_WORTH, self._share):
            self._deltas_to_skip = _SKIPPED
            return []
        table = pages_table(_runs(addresses), [])
        return _frame(
            piece, XOR_FLAG | ZSTD_FLAG, table, xor_digest(memoryview(pages.tobytes())), packed
        )

    def _without_zeros(
        self, runs: numpy.ndarray
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]], Buffer]:
        import numpy as np

        size = int((runs[:, 1] - runs[:, 0]).sum())
        words = np.frombuffer(self._buffer, dtype=np.uint64, count=size // 8)
        pages = words.reshape(-1, PAGE // 8)
        filled = np.bitwise_or.reduce(pages, axis=1) != 0
        if filled.all():
            told = [(int(start), int(end - start)) for start, end in runs]
            return told, [], memoryview(self._buffer)[:size]
        addresses = _addresses(runs)
        content = memoryview(pages[filled].tobytes())
        return _runs(addresses[filled]), _runs(addresses[~filled]), content

    def _compressed(self, content: Buffer) -> tuple[Buffer, int]:
        """The content as it is to be sent, and the frame's flags."""
        if self._to_skip or not len(content):
            self._to_skip = max(0, self._to_skip - 1)
            return content, 0
        packed = self._zstd(content)
        self._share = len(packed) / len(content)
        if self._share > _WORTH:
            self._to_skip = _SKIPPED
            return content, 0
        return packed, ZSTD_FLAG

    def _zstd(self, content: Buffer) -> bytes:
        import zstandard

        if self._compressor is None:
            self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        assert isinstance(self._compressor, zstandard.ZstdCompressor)
        packed: bytes = self._compressor.compress(content)
        return packed


def _frame(piece: PagesPiece, flags: int, *payload: Buffer) -> list[Buffer]:
    return [pack(Kind.PAGES, *payload, flags=flags, file=piece.file.number), *payload]
