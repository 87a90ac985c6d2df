"""What a page server has to know to go on where a killed one stopped, in memory that outlives it.

An event of a userfaultfd (a fork, a remap, ...) is consumed by reading it: were it lost, the model
would be wrong and pages with it. So the kernel writes it straight into this memory, which is shared
with the next server: consumed and recorded are one step. A SIGKILL waits for the end of a read(2)
that does not sleep. What is filled is not recorded: the kernel knows (EEXIST).

The memory is a memfd: a header, and two areas used in turn, each a snapshot and the records since.
A record is the number of the userfaultfd (int64) and 32 bytes: a struct uffd_msg, or one of ours
with the event ADD, CLOSING, CLOSED or HUNG_UP. The first that has no event is the end.
"""

from __future__ import annotations

import array
import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from migrate.criu.lazypages.spaces import Run
from migrate.kernel.files import map_shared, punch_hole
from migrate.kernel.userfault_fill import FAULT, MESSAGE_SIZE

ADD, CLOSING, CLOSED, HUNG_UP = 1, 2, 3, 4
COMPACT_AFTER = 1 << 16  # records
_HEADER = 4096
_AREA = 1 << 28  # bytes; sparse
_RECORD = 8 + MESSAGE_SIZE
_ACTIVE, _FINISHED, _PID, _BEGUN = 0, 8, 16, 24
_COUNTERS = 64
COUNTERS = ("filled", "faults", "zero_faults", "stranded", "restarts")


class Record(NamedTuple):
    """`source` is a userfaultfd's number, `message` 32 bytes."""

    source: int
    message: bytes


class Saved(NamedTuple):
    """A process in a snapshot: descriptors, pid, runs."""

    uffd: int
    pid: int
    content: int
    present: int
    runs: list[Run]


class Journal:
    """The journal in the memfd `descriptor`, which it makes large enough."""

    def __init__(self, descriptor: int) -> None:
        size = _HEADER + 2 * _AREA
        self._descriptor = descriptor
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        self._memory = map_shared(descriptor, size)
        self._base = _HEADER + self._word(_ACTIVE) * _AREA
        self._first = self._tail = self._base + 8 + self._word(self._base)

    def _word(self, at: int) -> int:
        value: int = struct.unpack_from("=Q", self._memory, at)[0]
        return value

    def _set_word(self, at: int, value: int) -> None:
        struct.pack_into("=Q", self._memory, at, value)

    def count(self, counter: str, number: int) -> None:
        """Add to one of COUNTERS."""
        at = _COUNTERS + 8 * COUNTERS.index(counter)
        self._set_word(at, self._word(at) + number)

    def counters(self) -> dict[str, int]:
        """All of COUNTERS."""
        return {name: self._word(_COUNTERS + 8 * i) for i, name in enumerate(COUNTERS)}

    @property
    def finished(self) -> bool:
        """Whether CRIU has said that the restore is at its end."""
        return bool(self._word(_FINISHED))

    @property
    def begun(self) -> bool:
        """Whether the background fill has been begun."""
        return bool(self._word(_BEGUN))

    def finish(self) -> None:
        """CRIU has said so."""
        self._set_word(_FINISHED, 1)

    def begin(self) -> None:
        """The background fill has been begun."""
        self._set_word(_BEGUN, 1)

    @property
    def word_of_criu(self) -> memoryview:
        """The int32 that CRIU sent last and that is not dealt with: to be received into."""
        return self._memory[_PID : _PID + 4]

    def records(self) -> Iterator[Record]:
        """The records since the snapshot; then the journal goes on behind them."""
        while True:
            record = self._memory[self._tail : self._tail + _RECORD]
            if record[8] in {0, FAULT}:
                return
            yield Record(struct.unpack_from("=q", record)[0], bytes(record[8:]))
            self._advance()

    def append(self, source: int, event: int, payload: bytes = b"") -> Record:
        """Write a record of ours; the event, which makes it one, is written last."""
        at = self._tail
        message = bytes(8) + payload.ljust(MESSAGE_SIZE - 8, b"\0")
        struct.pack_into("=q", self._memory, at, source)
        self._memory[at + 9 : at + _RECORD] = message[1:]
        self._memory[at + 8] = event
        self._advance()
        return Record(source, bytes([event]) + message[1:])

    def receive(self, uffd: int) -> bytes | None:
        """Read one message; None when there is none. Raises OSError.

        A fault is no record: who waits is woken by the next server, and asks again.
        """
        at = self._tail
        struct.pack_into("=q", self._memory, at, uffd)
        message = self._memory[at + 8 : at + _RECORD]
        try:
            os.readv(uffd, [message])
        except BlockingIOError:
            return None
        raw = bytes(message)
        if raw[0] != FAULT:
            self._advance()
        return raw

    def _advance(self) -> None:
        self._tail += _RECORD
        if self._tail + _RECORD > self._base + _AREA:
            raise MemoryError("the page server's journal is full")

    @property
    def is_long(self) -> bool:
        """Whether a snapshot would save memory."""
        return self._tail - self._first > COMPACT_AFTER * _RECORD

    def snapshot(self, saved: Iterable[Saved]) -> None:
        """Put the state in place of the records; valid at any moment at which it is cut off."""
        raw = b"".join(_encode(one) for one in saved)
        other = 1 - self._word(_ACTIVE)
        base = _HEADER + other * _AREA
        if len(raw) + _RECORD > _AREA // 2:
            return
        old = self._base
        self._give_back(base)
        self._memory[base + 8 : base + 8 + len(raw)] = raw
        self._set_word(base, len(raw))
        self._set_word(_ACTIVE, other)
        self._base = base
        self._first = self._tail = base + 8 + len(raw)
        self._give_back(old)

    def _give_back(self, base: int) -> None:
        punch_hole(self._descriptor, base, _AREA)

    def saved(self) -> list[Saved]:
        """What the snapshot holds."""
        at, end = self._base + 8, self._base + 8 + self._word(self._base)
        found = []
        while at < end:
            uffd, pid, content, present, number = struct.unpack_from("=qqqqq", self._memory, at)
            at += 40
            numbers = array.array("q", self._memory[at : at + 24 * number].tobytes())
            parts = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
            runs = [Run(*part) for part in parts]
            found.append(Saved(uffd, pid, content, present, runs))
            at += 24 * number
        return found


def _encode(one: Saved) -> bytes:
    numbers = array.array("q", [number for run in one.runs for number in run])
    head = struct.pack("=qqqqq", one.uffd, one.pid, one.content, one.present, len(one.runs))
    return head + numbers.tobytes()
