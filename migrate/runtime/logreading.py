"""The container's log, read: see `logs` for its format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    time: str
    stream: str
    text: str
    whole: bool


def parse(line: str) -> Entry:
    """The entry in a line of the file; raises ValueError for a garbled one."""
    stamp, stream, mark, text = line.rstrip("\n").split(" ", 3)
    return Entry(stamp, stream, text, mark == "F")


def read(path: Path, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Whole entries from `offset` on, each with the offset behind it; garbled ones are skipped."""
    try:
        file = path.open("rb")
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
