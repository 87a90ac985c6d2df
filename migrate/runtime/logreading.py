"""The container's log, read: see `logs` for its format."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator


class Entry:
    """One entry of the log."""

    __slots__ = ("stream", "text", "time", "whole")

    def __init__(self, time: str, stream: str, text: str, whole: bool) -> None:
        self.time = time
        self.stream = stream
        self.text = text
        self.whole = whole


def parse(line: str) -> Entry:
    """The entry in a line of the file; raises ValueError for a garbled one."""
    stamp, stream, mark, text = line.rstrip("\n").split(" ", 3)
    return Entry(stamp, stream, text, mark == "F")


def read(path: str | os.PathLike[str], offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Whole entries from `offset` on, each with the offset behind it; garbled ones are skipped."""
    try:
        file = open(path, "rb")  # noqa: SIM115 -- closed below
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            try:
                yield parse(raw.decode(errors="replace")), offset
            except ValueError:
                continue
