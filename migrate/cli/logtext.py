"""A container's log as text: to standard output and error as the container wrote it."""

from __future__ import annotations

import os
import sys

from migrate.runtime.logreading import Entry, parse

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    Identity = tuple[int, int]


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
        found = self._rest()
        while following := self._following():
            found += self._rest()  # nothing is added to a file that has a newer one
            if self._file:
                self._file.close()
            self._file = following
            found += self._rest()
        return found

    def _following(self) -> BinaryIO | None:
        """The file behind the one that is open (the oldest, if none is, or it is gone), opened.

        Files are known by their inodes: they are renamed while we look.
        """
        own = _identity(os.fstat(self._file.fileno())) if self._file else None
        while True:
            files = self._settled()
            places = [identity for identity, _path in files]
            at = places.index(own) + 1 if own in places else 0
            if at >= len(files):
                return None
            identity, path = files[at]
            try:
                following = open(path, "rb")  # noqa: SIM115 -- kept open
            except FileNotFoundError:
                continue
            if _identity(os.fstat(following.fileno())) == identity:
                return following
            following.close()

    def _settled(self) -> list[tuple[Identity, str]]:
        """Identity and path of the log's files, oldest first, as `logs.LogFile` names them.

        At any moment their numbers are in their order, maybe with a gap. Two looks that agree are
        of one moment.
        """
        before = self._look()
        while (now := self._look()) != before:
            before = now
        return now

    def _look(self) -> list[tuple[Identity, str]]:
        directory, name = os.path.split(os.fspath(self._path))
        numbers = {0: name}
        try:
            entries = os.listdir(directory or ".")
        except FileNotFoundError:
            return []  # the container is removed
        for entry in entries:
            text = entry.removeprefix(f"{name}.")
            if text != entry and text.isdecimal():
                numbers[int(text)] = entry
        found = []
        for number in sorted(numbers, reverse=True):
            path = os.path.join(directory, numbers[number])
            try:
                found.append((_identity(os.stat(path)), path))
            except FileNotFoundError:
                continue
        return found

    def _rest(self) -> list[Entry]:
        found: list[Entry] = []
        if not self._file:
            return found
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
