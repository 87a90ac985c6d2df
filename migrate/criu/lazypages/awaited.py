"""Pages that are still on another host: which, asking for them, and hearing that they have come.

In the store (`protocol.py`) a process can have a third file, `PID.awaited`: runs like those of
`PID.present`, of pages whose place in `PID` does not hold them yet. Whoever writes them there
appends what is whole to the log `PID.arrived`, uint64 pairs [start, end), little endian, and the
kernel tells of it (inotify; of the logs alone: each writing into `PID` would wake the server, too).
All of it can be read again by the next server.

Requests go into the FIFO `asked`: pid and offset, two uint64 of the host's order.
"""

from __future__ import annotations

import array
import contextlib
import os
import stat
import struct
import sys
import time
from typing import NamedTuple

from migrate.criu.lazypages.protocol import StoreBad, read_present
from migrate.criu.lazypages.spaces import AddressSpace
from migrate.kernel import inotify
from migrate.kernel.userfault_fill import PAGE

AWAITED, ARRIVED, FIFO = ".awaited", ".arrived", "asked"
ASK_AGAIN = 1.0  # seconds; a request is lost with the link that carried it
_REQUEST = struct.Struct("=QQ")
_PAIR = 16
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Arrival(NamedTuple):
    """The pages of `pid` at the offsets `start` to `end` are in the store now."""

    pid: int
    start: int
    end: int


def _close_left_behind() -> None:
    """What a killed server has opened here: the next one opens it anew."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- numbers, not paths
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            link = link.removesuffix(" (deleted)")
            if link == inotify.LINK or link.endswith((f"/{FIFO}", ARRIVED)):
                os.close(int(name))


class _Source:
    """What one process's contents lack, its log, and how much of that has been read."""

    def __init__(self, missing: AddressSpace, log: int, watch: int) -> None:
        self.missing = missing
        self.log = log
        self.watch = watch
        self.position = 0


class Awaited:
    """The awaited pages of all processes of the store `directory`, a descriptor."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._sources: dict[int, _Source] = {}
        self._asked: dict[tuple[int, int], float] = {}
        self._fifo = -1
        self.descriptor = -1
        """Readable when pages have come; -1 as long as none is awaited."""

    def expect(self, pid: int, content_size: int) -> list[Arrival]:
        """Learn what the contents of `pid` lack, which is nothing if there is no list.

        Returns what of it has come already. Raises StoreBad, OSError.
        """
        if pid in self._sources:
            return []
        try:
            listed = os.open(f"{pid}{AWAITED}", os.O_RDONLY | _OPEN, dir_fd=self._directory)
        except FileNotFoundError:
            return []
        try:
            runs = read_present(listed, content_size)
        finally:
            os.close(listed)
        if self.descriptor < 0:
            self._begin()
        log = self._open_log(pid)
        watch = inotify.watch_writes(self.descriptor, log)
        self._sources[pid] = _Source(AddressSpace(runs), log, watch)
        return self._read_log(pid)

    def _open_log(self, pid: int) -> int:
        """Made here if nothing has come yet, so that it can be watched."""
        flags = os.O_RDONLY | os.O_CREAT | _OPEN
        log = os.open(f"{pid}{ARRIVED}", flags, 0o600, dir_fd=self._directory)
        if not stat.S_ISREG(os.fstat(log).st_mode):
            os.close(log)
            raise StoreBad(f"the log of what has arrived of process {pid} is no file")
        return log

    def _begin(self) -> None:
        """Before anything is read: what comes meanwhile is told then."""
        _close_left_behind()
        self.descriptor = inotify.open_queue()
        with contextlib.suppress(FileNotFoundError):
            fifo = os.open(FIFO, os.O_RDWR | _OPEN, dir_fd=self._directory)
            if not stat.S_ISFIFO(os.fstat(fifo).st_mode):
                os.close(fifo)
                raise StoreBad("the store's FIFO for requests is none")
            self._fifo = fifo

    def forget(self, pid: int) -> None:
        """Nobody needs the contents of `pid` any more."""
        source = self._sources.pop(pid, None)
        if source:
            os.close(source.log)

    def close(self) -> None:
        """Nothing is awaited any more."""
        for pid in list(self._sources):
            self.forget(pid)
        for descriptor in (self.descriptor, self._fifo):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self._fifo = -1

    def of(self, pid: int) -> bool:
        """Whether anything of `pid` is awaited still."""
        source = self._sources.get(pid)
        return source is not None and bool(source.missing.runs)

    @property
    def remaining(self) -> int:
        """Bytes."""
        return sum(source.missing.remaining for source in self._sources.values())

    def here(self, pid: int, offset: int, length: int) -> int:
        """How many of `length` bytes from `offset` on are in the store; 0 if not even the first."""
        source = self._sources.get(pid)
        if source is None or not source.missing.runs:
            return length
        run = source.missing.next_piece(offset, length)
        if run is None or not offset <= run.start < offset + length:
            return length
        return run.start - offset

    def gap(self, pid: int, offset: int) -> int:
        """How many bytes from `offset` on are awaited."""
        source = self._sources.get(pid)
        run = source.missing.find(offset) if source else None
        return run.end - offset if run else 0

    def ask(self, pid: int, offset: int) -> None:
        """Have a page sent before others; once, until it is time to ask again."""
        if (pid, offset) not in self._asked:
            self._asked[pid, offset] = time.monotonic()
            self._request(pid, offset)

    def ask_again(self) -> None:
        """Repeat the requests that were not answered for long."""
        now = time.monotonic()
        for (pid, offset), asked in list(self._asked.items()):
            if self.here(pid, offset, PAGE):
                del self._asked[pid, offset]
            elif now - asked > ASK_AGAIN:
                self._asked[pid, offset] = now
                self._request(pid, offset)

    def _request(self, pid: int, offset: int) -> None:
        # A full FIFO has no reader: the request is repeated, or the page comes with the others.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            if self._fifo >= 0:
                os.write(self._fifo, _REQUEST.pack(pid, offset))

    @property
    def asking(self) -> bool:
        """Whether requests are open."""
        return bool(self._asked)

    def news(self) -> list[Arrival]:
        """What has come since the last call. Raises StoreBad, OSError."""
        written = inotify.written(self.descriptor)
        found: list[Arrival] = []
        for pid, source in self._sources.items():
            if written is None or source.watch in written:
                found += self._read_log(pid)
        return found

    def _read_log(self, pid: int) -> list[Arrival]:
        source = self._sources[pid]
        size = os.fstat(source.log).st_size
        raw = os.pread(source.log, max(size - source.position, 0), source.position)
        raw = raw[: len(raw) // _PAIR * _PAIR]
        source.position += len(raw)
        numbers = array.array("Q", raw)
        if sys.byteorder == "big":
            numbers.byteswap()
        found = []
        for start, end in zip(numbers[::2], numbers[1::2], strict=True):
            if start % PAGE or end % PAGE or end <= start:
                raise StoreBad(f"pages from {start:#x} to {end:#x} are said to have arrived")
            new = source.missing.cut(start, end)
            found += [Arrival(pid, run.start, run.end) for run in new]
        return found
