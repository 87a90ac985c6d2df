"""CRIU's images of some processes on their way to the target while CRIU dumps the others.

CRIU dumps one process after the other, opens each image once and appends to it (CRIU, criu/image.c,
criu/page-xfer.c). A small image of a process that has stayed as it is for a moment is most likely
whole, and is sent; whether it was, is asked when CRIU is done: one that has grown is sent again.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from types import TracebackType

from migrate.kernel.threads import Task
from migrate.transfer.bulk import BulkSender

LARGEST = 1 << 20  # bytes: what is larger may be under way for long
_EVERY = 0.008  # seconds
_OF_A_PROCESS = re.compile(r"(core|fdinfo|fs|ids|mm|pagemap|pages)-\d+\.img")

_State = tuple[int, int]  # size in bytes, time of the last change in ns


class EarlyImages:
    """Sends from a thread of its own, from `begin` until `finish`, or the `with` block's end."""

    def __init__(self, bulk: BulkSender, root: Path, directory: str) -> None:
        """`directory`: where CRIU writes, beneath `root`; files are named relative to that."""
        self._bulk, self._root, self._directory = bulk, root, directory
        self._prefix = f"{root}/"
        self._sent: dict[str, _State] = {}
        self._seen: dict[str, _State] = {}
        self._stopped = threading.Event()
        self._sending: Task[None] | None = None

    def __enter__(self) -> EarlyImages:
        return self

    def begin(self) -> None:
        """CRIU is at work, and waits for nothing that this process has to find out first."""
        self._sending = Task("early-images", self._work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """It is not waited for: where something has failed, the connections end, and so does it."""
        self._stopped.set()

    def finish(self, names: list[str]) -> list[str]:
        """CRIU is done: those of `names` that have to be sent still; raises what sending raised."""
        self._stopped.set()
        if self._sending:
            self._sending.result()
        return [n for n in names if n not in self._sent or self._state(n) != self._sent[n]]

    def _state(self, name: str) -> _State:
        status = os.stat(f"{self._prefix}{name}")  # noqa: PTH116 -- hundreds, within the pause
        return status.st_size, status.st_mtime_ns

    def _work(self) -> None:
        while not self._stopped.wait(_EVERY):
            if names := self._unchanged():
                self._bulk.send_files(self._root, names)

    def _unchanged(self) -> list[str]:
        """What is as it was at the last look; it counts as sent in this state."""
        found, names = {}, []
        with os.scandir(f"{self._prefix}{self._directory}") as entries:
            for entry in entries:
                name = f"{self._directory}/{entry.name}"
                if name in self._sent or not _OF_A_PROCESS.fullmatch(entry.name):
                    continue
                status = entry.stat(follow_symlinks=False)
                state = status.st_size, status.st_mtime_ns
                if self._seen.get(name) == state and 0 < status.st_size <= LARGEST:
                    self._sent[name] = state
                    names.append(name)
                found[name] = state
        self._seen = found
        return names
