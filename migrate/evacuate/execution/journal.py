"""What an evacuation has done so far, on the operator's disk: one JSON object a line.

A directory for each host that is emptied, named by its host id, beneath `evacuations` in the state
directory: `journal`, and `logs/NAME.log` with the lines of the last move of each container. Each
line is durable before what it announces is begun. Lines:

    {"kind": "begun", "at": SECONDS, "source": {...}, "addresses": {NAME: ADDRESS}}
    {"kind": "moving", "at": SECONDS, "task": Task}
    {"kind": "outcome", "at": SECONDS, "outcome": Outcome}
    {"kind": "ended" | "returned", "at": SECONDS}

It says what was intended; where a container runs, the hosts are asked. A last line that was cut off
in the writing is left out: what it announced was not begun.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from migrate.evacuate.execution.course import Outcome, State, Task
from migrate.evacuate.execution.errors import EvacuationJournalBad
from migrate.kernel.files import fsync_directory
from migrate.runtime.paths import Paths
from migrate.runtime.records import check_name

SIZE_LIMIT = 64 << 20  # bytes of a journal that is read
KEPT = 5  # journals of evacuations that are over, for each host


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line."""

    kind: Literal["begun", "moving", "outcome", "ended", "returned"]
    at: float
    source: str = ""  # its name
    source_address: str = ""
    addresses: dict[str, str] = {}  # of the hosts that may receive
    task: Task | None = None
    outcome: Outcome | None = None


def directory_of(paths: Paths, host_id: str) -> Path:
    """Where the journal of the host with this id is; raises EvacuationJournalBad for a bad id."""
    if not re.fullmatch(r"[0-9A-Za-z._-]{1,64}", host_id) or host_id.startswith("."):
        raise EvacuationJournalBad(f"'{host_id[:64]}' is no host id")
    return paths.state / "evacuations" / host_id


class Journal:
    """The journal of one host's evacuation. Reading changes nothing; who writes has the claim.

    Lines may come from several threads of that one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[Line] = read(directory / "journal")
        self._may_be_torn = True

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / "journal"

    @property
    def is_open(self) -> bool:
        """Whether an evacuation was begun that has not come to its end."""
        return bool(self.lines) and self.lines[-1].kind not in {"ended", "returned"}

    @property
    def moved(self) -> dict[str, Outcome]:
        """By container id: the last move of each that stands and was not brought back."""
        found: dict[str, Outcome] = {}
        for line in self.lines:
            if line.kind == "returned":
                found.clear()
            elif line.outcome is not None and line.outcome.state is State.MOVED:
                found[line.outcome.container] = line.outcome
        return {key: o for key, o in found.items() if o.target != self.source}

    @property
    def source(self) -> str:
        """The host's name in the last evacuation that was begun, "" where none was."""
        return next((line.source for line in reversed(self.lines) if line.kind == "begun"), "")

    @property
    def unfinished(self) -> dict[str, Task]:
        """By container id: moves that were begun and of which no end is known."""
        found: dict[str, Task] = {}
        for line in self.lines:
            if line.task is not None:
                found[line.task.container] = line.task
            elif line.outcome is not None and line.outcome.state is not State.UNSETTLED:
                found.pop(line.outcome.container, None)
        return found

    @property
    def addresses(self) -> dict[str, str]:
        """By name, the hosts that containers were sent to or may have been."""
        found: dict[str, str] = {}
        for line in self.lines:
            found |= line.addresses
        return found

    def begin(self, source: str, address: str, addresses: dict[str, str]) -> None:
        """Begin an evacuation, or go on with one; what is over is set aside."""
        if self.lines and self.lines[-1].kind == "returned":
            self._set_aside()
        self.write("begun", source=source, source_address=address, addresses=addresses)

    def write(self, kind: str, **fields: Any) -> None:
        """Append a line, durably; raises OSError."""
        line = msgspec.convert({"kind": kind, "at": time.time()}, Line)
        line = msgspec.structs.replace(line, **fields)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._may_be_torn:
            self._cut_off_torn_end()
            self._may_be_torn = False
        is_new = not self.path.exists()
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, msgspec.json.encode(line) + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            fsync_directory(self.directory)
        self.lines.append(line)

    def log_of(self, name: str) -> Path:
        """Where the lines of this container's move go; makes the directory. Raises SpecInvalid."""
        check_name(name)
        logs = self.directory / "logs"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return logs / f"{name}.log"

    def _cut_off_torn_end(self) -> None:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.path, whole)

    def _set_aside(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            older = self.directory / f"journal.{number}"
            if older.exists():
                older.rename(self.directory / f"journal.{number + 1}")
        self.path.rename(self.directory / "journal.1")
        self.lines = []


def read(path: Path) -> list[Line]:
    """All whole lines; none where there is no file. Raises EvacuationJournalBad."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return []
    if len(data) > SIZE_LIMIT:
        raise EvacuationJournalBad(f"the journal {path} is too large")
    whole, _newline, _torn = data.rpartition(b"\n")
    return list(_decoded(path, whole.split(b"\n") if whole else ()))


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterable[Line]:
    decoder = msgspec.json.Decoder(Line)
    for number, line in enumerate(lines, 1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, ValueError) as error:
            raise EvacuationJournalBad(
                f"the journal {path} can't be read", cause=f"line {number}: {error}"
            ) from error
