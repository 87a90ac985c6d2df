"""Large files in rounds while the container runs, and the last of them while it is frozen."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migrate.checkpoint.mapped import Identity
from migrate.checkpoint.staged import DIRECTORY, Fingerprints
from migrate.images.changes import Signature, signature
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from migrate.move.progress import Event, Phases
from migrate.move.vouching import Stop, Witness, identity
from migrate.transfer.bulk import BulkSender

LEAST_BYTES = 256 * 1024
"""Smaller files are not worth a message of their own."""
MOST_BYTES = 1 << 40
"""Of a larger one the fingerprints take too much memory."""
MOST_ROUNDS = 4
"""One after another; others come between the rounds of memory."""
FEW_BYTES = 4 << 20
NO_HELP = 0.7
"""A round that sends more than this share of the one before does not help."""
LEAST_KNOWN = 2
"""Rounds; what the first one sends tells nothing of what is written."""
LEAST_GAIN = 0.02
"""Seconds of the pause that are worth another round, which freezes the container for some ms."""
LONG = 5.0
"""Seconds after which a round is due whatever it saves: there may be new files, or busier ones."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass
class _File:
    """One file of the source, and what the target has of it."""

    number: int
    blocks: Fingerprints = field(default_factory=Fingerprints)
    signature: Signature = (0, 0, 0, 0)  # before it was read
    stop: Stop = field(default_factory=Stop)  # the last one before it was read
    used: bool = False


@dataclass(frozen=True)
class FileRound:
    """What a round of files has sent; times in seconds, `begun` by the monotonic clock."""

    begun: float  # when all was frozen
    held: float  # for how long
    sent: int  # bytes of blocks that were written since the round before
    seconds: float  # of the round
    reading: float  # of these, what it took to read what could not be vouched for
    since_last: float  # in which the blocks were written

    @property
    def dirty_rate(self) -> float:
        """Bytes of blocks written a second."""
        return self.sent / max(self.since_last, 1e-6)


def predicted_sending(done: list[FileRound], now: float) -> float:
    """Seconds for the blocks that were written since the last round, at the link's rate.

    That is the rate of the round that sent most: small ones fit into buffers. In a long time the
    same blocks are written again and again, so the fastest writing counts, not the mean.
    """
    if len(done) < LEAST_KNOWN:
        return 0.0
    largest = max(done, key=lambda each: each.sent)
    rate = largest.sent / max(largest.seconds, 1e-6)
    return max(each.dirty_rate for each in done[1:]) * (now - done[-1].begun) / max(rate, 1.0)


def predicted_reading(done: list[FileRound]) -> float:
    """Seconds for reading again what can't be vouched for."""
    return done[-1].reading if len(done) >= LEAST_KNOWN else 0.0


def is_worth_it(done: list[FileRound], now: float) -> bool:
    """Whether another round makes the pause shorter by more than it costs."""
    age = now - done[-1].begun
    if age < 2 * done[-1].seconds:  # it would be as old again afterwards
        return False
    return age > LONG or predicted_sending(done, now) > LEAST_GAIN


class FileRounds:
    """The large files of one container on their way to the target .

    A file is known by its device and inode: its names don't matter. Between the rounds of memory
    it is a `rounds.Beside`.
    """

    def __init__(self, witness: Witness, bulk: BulkSender, phases: Phases) -> None:
        """Send the files in rounds, until there is little left or a round does not help.

        Raises what sending raises; the container runs on.
        """
        self._witness = witness
        self.bulk = bulk
        self._report = phases.report
        self._roots = [tree.directory for tree in witness.trees]
        self._files: dict[Identity, _File] = {}
        self._reading = 0.0
        self.done: list[FileRound] = []
        phases.enter("files")
        for _ in range(MOST_ROUNDS):
            self._round()
            if self._is_enough():
                return

    def _is_enough(self) -> bool:
        sent = [done.sent for done in self.done]
        return sent[-1] < FEW_BYTES or (len(sent) > 1 and sent[-1] > NO_HELP * sent[-2])

    def again(self) -> None:
        """As `Beside.again`."""
        if is_worth_it(self.done, time.monotonic()):
            self._round()

    def predicted_pause(self) -> float:
        """As `Beside.predicted_pause`."""
        return predicted_reading(self.done) + predicted_sending(self.done, time.monotonic())

    def _round(self) -> None:
        """Send what may have changed; nothing is frozen where there is no large file."""
        begun = time.monotonic()
        self._reading, held, sent = 0.0, 0.0, 0
        if any(True for root in self._roots for _ in _large_files(root)):
            stop = self._witness.stop()
            held = time.monotonic() - begun
            sent = sum(self._send_changed(root, stop) for root in self._roots)
            self.bulk.flush()
        since = begun - self.done[-1].begun if self.done else 0.0
        seconds = time.monotonic() - begun
        done = FileRound(begun, held, sent, seconds, self._reading, since)
        self.done.append(done)
        if self._files:
            told = {"bytes": sent, "seconds": seconds, "files": len(self._files), "held": held}
            self._report(Event("note", f"round {len(self.done)} of files", told))

    def _send_changed(self, root: Path, stop: Stop) -> int:
        """Send what may have changed beneath a directory; the bytes of changed blocks."""
        sent = 0
        for descriptor, status in _large_files(root):
            file = self._files.setdefault(identity(status), _File(len(self._files)))
            if not self._witness.is_as_read(file.signature, file.stop, status):
                sent += self._send(file, descriptor, status, stop)
        return sent

    def _send(self, file: _File, descriptor: int, status: os.stat_result, stop: Stop) -> int:
        """Send the blocks that differ from what was sent; their bytes. `status` is older than that.

        The fingerprints are of the very bytes that are sent.
        """
        file.signature, file.stop = signature(status), stop
        sent = 0

        def changed() -> Iterator[tuple[int, memoryview]]:
            nonlocal sent
            blocks = file.blocks.delta(descriptor, status.st_size)
            while block := self._next(blocks):
                sent += len(block[1])
                yield block

        self.bulk.send_blocks(f"{DIRECTORY}/{file.number}", status.st_size, changed())
        return sent

    def _next(self, blocks: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview] | None:
        begun = time.monotonic()
        block = next(blocks, None)
        self._reading += time.monotonic() - begun
        return block

    def content(self, descriptor: int, status: os.stat_result) -> int | None:
        """As `Staging.content`: what has changed since the rounds is sent by this."""
        file = self._files.get(identity(status))
        if file is None or file.used or status.st_size > MOST_BYTES:
            return None
        file.used = True
        if not self._witness.is_as_read_then(file.signature, file.stop, status):
            self._send(file, descriptor, status, Stop())
        return file.number


def _large_files(root: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Descriptor (closed at the next step) and status of the large files beneath a directory.

    What vanishes or is replaced meanwhile is left out; other file systems are, too. Hard links come
    once for each name.
    """
    top = os.open(root, _DIRECTORY | os.O_CLOEXEC)
    try:
        todo = [b"."]
        while todo:
            path = todo.pop()
            try:
                directory = openat2(
                    top, path, _DIRECTORY, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
                )
            except OSError:
                continue
            try:
                yield from _directory(directory, os.fstat(top).st_dev, path, todo)
            finally:
                os.close(directory)
    finally:
        os.close(top)


def _directory(
    directory: int, device: int, path: bytes, todo: list[bytes]
) -> Iterator[tuple[int, os.stat_result]]:
    """The large files of one directory; its subdirectories are added to `todo`."""
    for text in os.listdir(directory):
        name = os.fsencode(text)
        with contextlib.suppress(OSError):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if status.st_dev == device and stat.S_ISDIR(status.st_mode):
                todo.append(path + b"/" + name)
            if status.st_dev != device or not is_large(status):
                continue
            descriptor = os.open(name, _READ, dir_fd=directory)
            try:
                status = os.fstat(descriptor)
                if status.st_dev == device and is_large(status):
                    yield descriptor, status
            finally:
                os.close(descriptor)


def is_large(status: os.stat_result) -> bool:
    """Whether a file is worth a message of its own, and fingerprints."""
    return stat.S_ISREG(status.st_mode) and LEAST_BYTES <= status.st_size <= MOST_BYTES
