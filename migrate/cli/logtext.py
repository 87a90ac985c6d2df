"""A container's log as text: to standard output and error as the container wrote it."""

from __future__ import annotations

import os
import sys

from migrate.runtime.logreading import Entry, parse

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    Identity = tuple[int, int]  # st_dev, st_ino

_LOOKS = 1000
"""Until two of them agree: a log that turns all the time can't turn that often meanwhile."""


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
        found: list[Entry] = []
        while following := self._following():
            if self._file:
                found += self._rest()  # all of it: it is complete when there is another behind it
                self._file.close()
            self._file = following
        return found + self._rest() if self._file else found

    def _following(self) -> BinaryIO | None:
        """Open the file behind the one that is read (the oldest at first), if any.

        The log may turn meanwhile, and each name be another file's then: what was seen counts only
        if it is the same at a second look.
        """
        for _ in range(_LOOKS):
            files = self._files()
            at = -1
            if self._file:
                own = _identity(os.fstat(self._file.fileno()))
                at = next((i for i, (_name, file) in enumerate(files) if file == own), -1)
            following = None
            if at + 1 < len(files):
                following = _opened(*files[at + 1])
                if following is None:
                    continue
            if files == self._files():
                return following
            if following:
                following.close()
        return None

    def _files(self) -> list[tuple[str, Identity]]:
        """The log's files as `logs.LogFile` names them, oldest first, and which each one is.

        Where it is turning at the moment, a number is missing.
        """
        directory, _, base = os.fspath(self._path).rpartition("/")
        numbers = [0] if os.path.exists(self._path) else []
        for name in os.listdir(directory or "."):
            stem, _, number = name.rpartition(".")
            if stem == base and number.isascii() and number.isdigit():
                numbers.append(int(number))
        found = []
        for nth in sorted(numbers, reverse=True):
            name = f"{self._path}.{nth}" if nth else os.fspath(self._path)
            try:
                found.append((name, _identity(os.stat(name))))
            except FileNotFoundError:
                continue
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


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _opened(name: str, wanted: Identity) -> BinaryIO | None:
    """The file, if it is still that one."""
    try:
        file = open(name, "rb")  # noqa: SIM115 -- kept open
    except FileNotFoundError:
        return None
    if _identity(os.fstat(file.fileno())) == wanted:
        return file
    file.close()
    return None


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
