"""A data connection of its own for pages that somebody waits for: asked for there, sent at once.

Nothing else goes over it, so that a page does not queue behind the bulk of the others.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from migrate.transfer.errors import TimeLimitExceeded
from migrate.transfer.frames import Kind, frame, parse_asked
from migrate.transfer.links import open_links
from migrate.transfer.outgoing import Lane, OutgoingFile
from migrate.transfer.pages import ADDRESS_SPACE, AskedPage, PagesPiece, Read, cut
from migrate.transfer.remote import agent_command_line
from migrate.transfer.target import Target

if TYPE_CHECKING:
    import numpy

    from migrate.transfer.links import DataLink

OPEN_SECONDS = 20.0
OPEN_FILES = 128  # at once; a receiver has room for 256


class PageLink:
    """Requests in, pages out. `asked` is for one thread, `send` and `close` for any."""

    def __init__(self, link: DataLink) -> None:
        self._link = link
        self._lane = Lane(link)
        self._files: dict[str, OutgoingFile] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @classmethod
    def open(
        cls, target: Target, root_token: str, *, fifo: str, command: str | None = None
    ) -> PageLink:
        """Open the connection, and have requests that are written into `fifo` there relayed.

        `command`: migrate's path at the target. Raises what `open_links` raises.
        """
        line = agent_command_line(command, ("--data", root_token))
        link = open_links(target, line, 1, OPEN_SECONDS)[0]
        link.hurry()
        link.write([frame(Kind.WATCH, fifo.encode())])
        return cls(link)

    @property
    def wire_bytes(self) -> int:
        """Bytes put on the connection."""
        return self._link.wire_bytes

    @property
    def closing(self) -> bool:
        """Whether `close` was called: what fails then is no failure."""
        return self._closing.is_set()

    def asked(self, seconds: float) -> list[tuple[int, int]]:
        """Requests (file number, offset), none if there was none for `seconds`.

        Raises what a connection that failed raises, and ProtocolError.
        """
        try:
            _, payload = self._link.answer(Kind.ASKED, "page requests", time.monotonic() + seconds)
        except TimeLimitExceeded:
            return []
        return parse_asked(payload)

    def send(self, name: str, runs: numpy.ndarray, read: Read) -> None:
        """Send page runs into the file `name` there, each told in its log of arrivals.

        `runs` and `read` as for `BulkSender.send_pages`. Raises what reading and writing raise.
        """
        for part in cut(runs):
            with self._lock:
                file = self._files.get(name) or self._new_file(name)
                self._lane.send(PagesPiece(file, part, read, fresh=False, awaited=True), None)

    def send_page(self, name: str, offset: int, content: bytes) -> None:
        """Send one page that was asked for; raises what writing raises."""
        with self._lock:
            file = self._files.get(name) or self._new_file(name)
            self._lane.send(AskedPage(file, offset, content), None)

    def _new_file(self, name: str) -> OutgoingFile:
        if len(self._files) == OPEN_FILES:
            self._files.pop(next(iter(self._files))).release()
        file = OutgoingFile(
            next(self._numbers), name, size=ADDRESS_SPACE, mode=0o600, descriptor=None
        )
        self._files[name] = file
        return file

    def close(self) -> None:
        """Cut the connection; safe to repeat."""
        self._closing.set()
        self._link.abort()
        self._link.close()
