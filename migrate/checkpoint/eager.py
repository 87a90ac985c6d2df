"""Pages that must be there when the copy runs, though they did not travel in CRIU's images.

The changed pages of private mappings of files, a program's .data for one, can't be restored lazily:
userfaultfd serves no missing page of a file (CRIU, criu/include/vma.h, vma_entry_can_be_lazy). They
come to the page store like all others, beside a list of them, `PID.eager`, in the form of
`PID.present`. CRIU, whose images do not have them, restores those mappings as the file has them;
then, while the copy is frozen still, the pages are written over it.

The store comes from another host: lists are checked before CRIU begins, and what is written lies in
the memory of the container's own processes, which came from there as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from migrate.criu.errors import ImageBad
from migrate.criu.lazypages.protocol import HIGHEST_ADDRESS, StoreBad, read_present
from migrate.criu.lazypages.spaces import Run

EAGER = ".eager"
_AT_ONCE = 2
"""Processes; such copies are memory's work, and more of them are no faster."""
_CHUNK = 1 << 20  # bytes
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class EagerPages:
    """The eager pages of one store, which may be emptied meanwhile by a page server."""

    def __init__(self, store: Path) -> None:
        """Raises ImageBad if a list can't be true, OSError."""
        self._runs: dict[int, list[Run]] = {}
        self._contents: dict[int, int] = {}  # descriptors
        try:
            for listed in store.glob(f"*{EAGER}"):
                if listed.stat().st_size:
                    self._enter(listed)
        except BaseException:
            self.close()
            raise

    def _enter(self, listed: Path) -> None:
        if not listed.stem.isdigit():
            raise ImageBad(f"{listed.name} is the list of no process")
        pid = int(listed.stem)
        self._contents[pid] = content = os.open(listed.with_suffix(""), _READ_ONLY)
        descriptor = os.open(listed, _READ_ONLY)
        try:
            size = min(os.fstat(content).st_size, HIGHEST_ADDRESS)
            self._runs[pid] = read_present(descriptor, size)
        except StoreBad as error:
            raise ImageBad(f"{listed.name} is damaged", cause=str(error)) from error
        finally:
            os.close(descriptor)

    def pids(self) -> frozenset[int]:
        """The processes that have some, by pid in the container."""
        return frozenset(self._runs)

    def write(self, processes: Mapping[int, int]) -> None:
        """Write them; `processes`: pids on this host, by pid in the container, all frozen.

        Raises ImageBad if one is missing, or does not have the memory.
        """
        if missing := self._runs.keys() - processes.keys():
            raise ImageBad(f"there are pages of process {min(missing)}, which was not restored")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda pid: self._write(pid, processes[pid]), self._runs):
                pass

    def _write(self, pid: int, there: int) -> None:
        largest = max(run.end - run.start for run in self._runs[pid])
        buffer = bytearray(min(largest, _CHUNK))
        try:
            # Past the protection of a mapping (proc_pid_mem(5)), as CRIU's own restore goes.
            memory = os.open(f"/proc/{there}/mem", os.O_WRONLY | os.O_CLOEXEC)
            try:
                for run in self._runs[pid]:
                    _copy(self._contents[pid], memory, run, buffer)
            finally:
                os.close(memory)
        except OSError as error:
            raise ImageBad(
                f"pages of process {pid} can't be restored", cause=str(error)
            ) from error  # fmt: skip

    def close(self) -> None:
        """Safe to repeat."""
        while self._contents:
            os.close(self._contents.popitem()[1])


def _copy(content: int, memory: int, run: Run, buffer: bytearray) -> None:
    at = run.start
    while at < run.end:
        part = memoryview(buffer)[: min(run.end - at, len(buffer))]
        got = os.preadv(content, [part], at)
        if got <= 0:
            raise OSError(f"the page store ends at {at:#x}")
        written = 0
        while written < got:
            written += os.pwrite(memory, part[written:got], at + written)
        at += got
