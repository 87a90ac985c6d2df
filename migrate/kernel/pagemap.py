"""PAGEMAP_SCAN (Linux 6.7): which pages of a range exist, and which were written."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGEMAP_SCAN = 0xC060_6610
"""_IOWR('f', 16, struct pm_scan_arg), include/uapi/linux/fs.h."""
PM_SCAN_ARG = struct.Struct("12Q")
"""size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask,
category_anyof_mask, return_mask."""
_WALK_END_OFFSET = 32

PM_SCAN_WP_MATCHING = 1
PM_SCAN_CHECK_WPASYNC = 2

PAGE_IS_WPALLOWED = 1 << 0
PAGE_IS_WRITTEN = 1 << 1
PAGE_IS_FILE = 1 << 2
PAGE_IS_PRESENT = 1 << 3
PAGE_IS_SWAPPED = 1 << 4
"""Swapped out, being moved by the kernel, or a marker (see PAGE_IS_GUARD)."""
PAGE_IS_PFNZERO = 1 << 5
PAGE_IS_HUGE = 1 << 6
PAGE_IS_GUARD = 1 << 8
"""MADV_GUARD_INSTALL; such a page is PAGE_IS_SWAPPED, too. Linux 6.15; EINVAL before."""

# Documentation/admin-guide/mm/pagemap.rst: an entry of /proc/PID/pagemap.
_FRAME = (1 << 55) - 1  # the page frame, or the place in swap space
_SOFT_DIRTY = 1 << 55
_SWAPPED, _PRESENT = 1 << 62, 1 << 63
_PAGE, _ENTRY = 4096, 8
_NEAR = 512
"""Pages between two runs up to which one read of both is cheaper."""
CLEAR_SOFT_DIRTY = "4"
"""Written to /proc/PID/clear_refs: Documentation/admin-guide/mm/soft-dirty.rst."""

_FIELDS = 3
_VECTOR_LENGTH = 1 << 16


class PagemapScanner:
    """Scans with one buffer of `length` regions, which is used again and again."""

    def __init__(self, length: int = _VECTOR_LENGTH) -> None:
        import numpy as np

        self._length = length
        self._vector: NDArray[np.uint64] = np.zeros((length, _FIELDS), dtype=np.uint64)
        self._address = int(self._vector.ctypes.data)

    def scan(
        self, descriptor: int, start: int, end: int, *, flags: int = 0, mask: int = 0,
        inverted: int = 0, any_of: int = 0, returned: int = 0,
    ) -> NDArray[np.uint64]:  # fmt: skip
        """The pages in [start, end) of an open /proc/PID/pagemap, as an array of its own.

        Shape (n, 3): runs [start, end) in bytes and their categories as far as `returned` asks, in
        ascending order. A page counts when it has all of `mask` (for those in `inverted`: has them
        not) and, unless that is 0, one of `any_of`. Raises OSError: EPERM with CHECK_WPASYNC for a
        range that is not, or only in part, under asynchronous write protection: then pages may
        have been protected again without being told. A dead address space has no pages.
        """
        import numpy as np

        parts = []
        while start < end:
            argument = bytearray(PM_SCAN_ARG.pack(
                PM_SCAN_ARG.size, flags, start, end, 0, self._address, self._length, 0,
                inverted, mask, any_of, returned,
            ))  # fmt: skip
            count = _scan(descriptor, argument, start, end)
            if not count:
                break
            parts.append(self._vector[:count].copy())
            start = max(_walk_end(argument), int(self._vector[count - 1, 1]))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, _FIELDS), dtype=np.uint64)


def _walk_end(argument: bytearray) -> int:
    """Where the kernel says that it stopped.

    Too early (seen on 6.18) when it got to the end after it had filled its own buffer of 512
    regions at least once: then it is where that buffer was full last.
    """
    return int(struct.unpack_from("Q", argument, _WALK_END_OFFSET)[0])


def _scan(descriptor: int, argument: bytearray, start: int, end: int) -> int:
    try:
        return int(fcntl.ioctl(descriptor, PAGEMAP_SCAN, argument))
    except OSError as error:
        raise OSError(error.errno, f"PAGEMAP_SCAN {start:x}-{end:x}: {error.strerror}") from error


def merge_runs(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Runs [start, end) in ascending order, (n, 2 or more), with neighbours joined: (m, 2)."""
    import numpy as np

    if len(runs) < 2:
        return np.ascontiguousarray(runs[:, :2]) if len(runs) else np.empty((0, 2), np.uint64)
    apart = runs[1:, 0] != runs[:-1, 1]
    starts = runs[np.concatenate(([True], apart)), 0]
    ends = runs[np.concatenate((apart, [True])), 1]
    return np.stack((starts, ends), axis=1)


def scans_guards() -> bool:
    """Whether this kernel tells guard pages (PAGE_IS_GUARD) apart."""
    page = ctypes.create_string_buffer(1)
    address = ctypes.addressof(page) & ~0xFFF
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        try:
            PagemapScanner(1).scan(
                pagemap.fileno(), address, address + 0x1000, any_of=PAGE_IS_PRESENT,
                returned=PAGE_IS_GUARD,
            )  # fmt: skip
        except OSError:
            return False
    return True


def page_numbers(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The page numbers (address / 4096) in runs [start, end) of bytes, ascending."""
    import numpy as np

    firsts, counts = runs[:, 0] // _PAGE, (runs[:, 1] - runs[:, 0]) // _PAGE
    offsets = np.arange(int(counts.sum()), dtype=np.uint64)
    before = np.cumsum(counts) - counts
    found: NDArray[np.uint64] = offsets + np.repeat(firsts - before, counts.astype(np.int64))
    return found


def page_runs(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Runs [start, end) in bytes of ascending page numbers: the way back from `page_numbers`."""
    import numpy as np

    starts = numbers * np.uint64(_PAGE)
    return merge_runs(np.stack((starts, starts + np.uint64(_PAGE)), axis=1))


def read_entries(descriptor: int, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The entries of an open /proc/PID/pagemap for ascending page numbers; raises OSError.

    A page that is gone, or whose address space is, has the entry 0.
    """
    import numpy as np

    found = np.zeros(len(numbers), dtype=np.uint64)
    if not len(numbers):
        return found
    breaks = np.flatnonzero(numbers[1:] - numbers[:-1] > _NEAR) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    for begin, end in itertools.pairwise(edges):
        first, last = int(numbers[begin]), int(numbers[end - 1])
        data = os.pread(descriptor, (last - first + 1) * _ENTRY, first * _ENTRY)
        entries = np.frombuffer(data, dtype=np.uint64)
        if len(entries) == last - first + 1:
            found[begin:end] = entries[(numbers[begin:end] - numbers[begin]).astype(np.int64)]
    return found


def places(entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What tells where a page is kept: its frame or its place in swap space, and which of both."""
    import numpy as np

    return entries & np.uint64(_FRAME | _SWAPPED | _PRESENT)


def soft_dirty(entries: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which entries have the soft-dirty bit."""
    import numpy as np

    marked: NDArray[np.bool_] = (entries & np.uint64(_SOFT_DIRTY)) != 0
    return marked
