"""What `criu restore` says to a page server, and the form of the page store.

The socket (CRIU, criu/uffd.c, prepare_lazy_pages_socket, send_uffd, lazy_pages_finish_restore): a
stream in CRIU's working directory. Each task sends, as int32 of the host's order, its pid in the
container, followed by one byte that carries its userfaultfd; a zombie sends its negative pid and no
descriptor; at the end FINISHED is sent. A task sends before it registers its memory, also when it
has none to register.

The store: a directory with a sparse file for each process, named by the same pid, in which a page
is at the offset that is its address; and `PID.present`: uint64 pairs [start, end), little endian,
sorted, apart from each other, of what there is. All else that is restored lazily is zero.
"""

from __future__ import annotations

import array
import os
import sys

from migrate.criu.lazypages.spaces import Run
from migrate.kernel.userfault_fill import PAGE

SOCKET_NAME = "lazy-pages.socket"
FINISHED = 0x5253_5446
"""LAZY_PAGES_RESTORE_FINISHED; no pid is that large (PID_MAX_LIMIT is 4 Mi)."""

PRESENT_LIMIT = 1 << 30  # bytes: runs for 256 GiB of memory with a hole at each second page
HIGHEST_ADDRESS = 1 << 56  # five-level page tables
_PAIR = 16


class StoreBad(ValueError):
    """A page store that can't be what the other side dumped."""


def read_present(descriptor: int, content_size: int) -> list[Run]:
    """The runs of one process; raises StoreBad, OSError.

    `content_size` is that of the content file in bytes: what is present must lie within it, or
    zeros would be taken for pages.
    """
    size = os.fstat(descriptor).st_size
    if size % _PAIR or size > PRESENT_LIMIT:
        raise StoreBad(f"a list of present pages of {size} bytes")
    raw = os.pread(descriptor, size, 0)
    if len(raw) != size:
        raise StoreBad("a list of present pages that shrinks")
    numbers = array.array("Q", raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    runs: list[Run] = []
    reached = 0
    for start, end in zip(numbers[::2], numbers[1::2], strict=True):
        if start % PAGE or end % PAGE or not reached <= start < end:
            raise StoreBad(f"present pages from {start:#x} to {end:#x} behind {reached:#x}")
        if runs and start == reached:
            runs[-1] = Run(runs[-1].start, end, runs[-1].offset)
        else:
            runs.append(Run(start, end, start))
        reached = end
    if reached > min(content_size, HIGHEST_ADDRESS):
        raise StoreBad(f"pages up to {reached:#x}, but contents of {content_size:#x} bytes")
    return runs
