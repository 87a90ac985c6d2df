"""A container's log as text: to standard output and error as the container wrote it."""

from __future__ import annotations

import os
import sys

from migrate.runtime.logreading import Entry, parse

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO


class LogPrinter:
    """Prints what is new in a log; the file is kept open, so that it may be removed meanwhile."""

    def __init__(self, path: str | os.PathLike[str], *, stamps: bool = False) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._stamps = stamps
        self._begun: dict[str, bool] = {}

    def __enter__(self) -> LogPrinter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._file:
            self._file.close()

    def show(self, tail: int | None = None) -> None:
        """Print the entries since the last time, or only the last `tail` lines of them."""
        entries = self._fresh()
        if tail is not None:
            entries = _last_lines(entries, tail)
        for entry in entries:
            self._print(entry)
        if entries:
            sys.stdout.buffer.flush()
            sys.stderr.buffer.flush()

    def _fresh(self) -> list[Entry]:
        found = []
        while self._file or self._turn():
            found += self._rest()
            if not self._turn():
                break
        return found

    def _turn(self) -> bool:
        """Open the file behind the one that was read to its end (the oldest at first), if any."""
        files = self._files()
        at = -1
        if self._file:
            own = os.fstat(self._file.fileno())
            at = next((i for i, file in enumerate(files) if _is_same(file, own)), -1)
        if at + 1 >= len(files):
            return False
        try:
            following = open(files[at + 1], "rb")  # noqa: SIM115 -- kept open
        except FileNotFoundError:  # it has just been renamed
            return False
        if self._file:
            self._file.close()
        self._file = following
        return True

    def _files(self) -> list[str]:
        """The log's files as `logs.LogFile` names them, oldest first."""
        found = [os.fspath(self._path)] if os.path.exists(self._path) else []
        number = 1
        while os.path.exists(f"{self._path}.{number}"):
            found.insert(0, f"{self._path}.{number}")
            number += 1
        return found

    def _rest(self) -> list[Entry]:
        found: list[Entry] = []
        assert self._file
        while raw := self._file.readline():
            if not raw.endswith(b"\n"):  # its end is not written yet
                self._file.seek(-len(raw), 1)
                break
            try:
                found.append(parse(raw.decode(errors="surrogateescape")))
            except ValueError:
                continue
        return found

    def _print(self, entry: Entry) -> None:
        out = sys.stderr.buffer if entry.stream == "stderr" else sys.stdout.buffer
        if self._stamps and not self._begun.get(entry.stream):
            out.write(f"{entry.time} ".encode())
        self._begun[entry.stream] = not entry.whole
        out.write(entry.text.encode(errors="surrogateescape") + (b"\n" if entry.whole else b""))


def _is_same(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except FileNotFoundError:
        return False


def _last_lines(entries: list[Entry], count: int) -> list[Entry]:
    """The last `count` lines; the parts of one line count once."""
    begun: set[str] = set()
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        if entry.whole or (entry.stream not in begun and index == len(entries) - 1):
            if count == 0:
                return entries[index + 1 :]
            count -= 1
        begun.add(entry.stream)
    return entries
