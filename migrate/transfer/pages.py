"""Pages of memory on their way: cut into frames, zeros left out, compressed where that helps.

A page's offset in its file is its address, so that every round of a move writes to the same slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrate.transfer.frames import (
    ARRIVAL_FLAG,
    PAGE,
    ZSTD_FLAG,
    Buffer,
    Kind,
    pack,
    pages_table,
)

if TYPE_CHECKING:
    import numpy

    from migrate.transfer.outgoing import OutgoingFile

ADDRESS_SPACE = 1 << 56
"""Bytes; the size of a file of pages. All but what was sent is a hole."""
CHUNK = 1024 * 1024
"""Bytes of pages in one frame, before compression."""
RUNS = 1024
"""Runs in one frame: as many as one process_vm_readv(2) takes."""
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

    def release(self) -> None:
        """It was sent or given up."""
        self.file.release()


def cut(runs: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """Runs of any length as groups of at most CHUNK bytes and RUNS runs."""
    import numpy as np

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
    """Makes frames of one link; remembers whether compression was worth it."""

    def __init__(self) -> None:
        self._buffer = bytearray(CHUNK)
        self._compressor: object = None
        self._to_skip = 0

    def frames(self, piece: PagesPiece) -> tuple[list[Buffer], int]:
        """The frames of a piece, and how many bytes of pages they carry."""
        runs = piece.read(piece.runs, self._buffer)
        data, zeros, content = self._without_zeros(runs)
        size = len(content)
        if piece.fresh:
            zeros = []
        if not data and not zeros:
            return [], 0
        content, flags = self._compressed(content)
        if piece.awaited:
            flags |= ARRIVAL_FLAG
        payload = [pages_table(data, zeros), content]
        head = pack(Kind.PAGES, *payload, flags=flags, file=piece.file.number)
        return [head, *payload], size

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
        import zstandard

        if self._to_skip or not len(content):
            self._to_skip = max(0, self._to_skip - 1)
            return content, 0
        if self._compressor is None:
            self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        assert isinstance(self._compressor, zstandard.ZstdCompressor)
        packed = self._compressor.compress(content)
        if len(packed) > len(content) * _WORTH:
            self._to_skip = _SKIPPED
            return content, 0
        return packed, ZSTD_FLAG
