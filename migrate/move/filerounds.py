"""Large files in rounds while the container runs, and the last of them while it is frozen.

What makes it right: at the beginning of a round the container is frozen for a moment. In that
moment no write(2) is under way, and the files that are mapped shared are known. A file that is read
after it, that was not changed shortly before it, and that is not one of those, can't change any
more without new times (write(2) sets them before it writes, a shared mapping when a page of it is
first written to; Linux, file_update_time). Every other file is read again when all is frozen.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migrate.checkpoint.files import volume_names
from migrate.checkpoint.mapped import Identity, Mapped, shared_files
from migrate.checkpoint.staged import DIRECTORY, Fingerprints
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from migrate.kernel.filesystems import BTRFS, EXT, F2FS, XFS, magic
from migrate.move.faultpoint import reached
from migrate.move.progress import Event, Phases
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import CgroupFailed
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.storage import has_upper, volume_directory
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
RACY_NS = 50_000_000
"""File times come from a clock that ticks every 10 ms at worst."""
STEP_NS = 20_000_000
"""More than slewing makes of it in a move; less than what RACY_NS leaves."""
STOP_LIMIT = 1.0  # seconds; the freezer needs some ms
_STEADY = {EXT, XFS, BTRFS, F2FS}  # their files' times follow every write, mapped ones included
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class Stop:
    """A moment at which all processes were frozen; `begun` in ns of the wall clock, before it."""

    begun: int = 0
    mapped: Mapped = field(default_factory=Mapped)
    clock: int = 0  # see _clock_offset, then

    def vouches(self, status: os.stat_result) -> bool:
        """Whether a file of these times, read after the stop, can't change without others.

        Not after a step of the wall clock, by which all of them are told.
        """
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        if abs(_clock_offset() - self.clock) > STEP_NS:
            return False
        return newest < self.begun - RACY_NS and not self.mapped.may_hold(_identity(status))


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
    """The large files of one container on their way to the target (a `checkpoint.staged.Staging`).

    A file is known by its device and inode: its names don't matter. Between the rounds of memory
    it is a `rounds.Beside`.
    """

    def __init__(self, paths: Paths, record: Record, bulk: BulkSender, phases: Phases) -> None:
        """Send the files in rounds, until there is little left or a round does not help.

        Raises what sending raises; the container runs on.
        """
        self._paths = paths
        self.bulk = bulk
        self._report = phases.report
        self._group = ControlGroup.of(record.identifier)
        self._upper = paths.container(record.identifier).upper
        self._volumes = set(volume_names(record))
        volumes = [volume_directory(paths, name) for name in sorted(self._volumes)]
        # Of a whole tree it can't be told yet which files differ from the image.
        self._roots = [*([self._upper] if has_upper(record) else []), *volumes]
        self._steady = {root.stat().st_dev for root in self._roots if magic(root) in _STEADY}
        self._files: dict[Identity, _File] = {}
        self._last = Stop()
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
            stop = self._stop()
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
            file = self._files.setdefault(_identity(status), _File(len(self._files)))
            if not self._is_as_sent(file, status):
                sent += self._send(file, descriptor, status, stop)
        return sent

    def _stop(self) -> Stop:
        """Hold all processes for a moment. Where they don't stop, nothing is vouched for."""
        begun = time.time_ns()
        try:
            self._group.freeze(STOP_LIMIT)
            reached(self._paths, "files-held")
            return Stop(begun, self._mapped(), _clock_offset())
        except (CgroupFailed, OSError):
            return Stop()
        finally:
            with contextlib.suppress(OSError):  # it has ended, and its group is gone
                self._group.thaw()

    def _mapped(self) -> Mapped:
        """What may be mapped; anything, where another container uses one of the volumes."""
        others = records.load_all(self._paths) if self._volumes else []
        if any(
            self._volumes & set(volume_names(other))
            for other in others if other.identifier != self._group.name
        ):  # fmt: skip
            return Mapped()
        return shared_files(self._group.pids(), self._upper)

    def _is_as_sent(self, file: _File, status: os.stat_result) -> bool:
        """Whether the target has what is in the file now."""
        return (
            file.signature == _signature(status)
            and status.st_dev in self._steady
            and file.stop.vouches(status)
        )

    def _send(self, file: _File, descriptor: int, status: os.stat_result, stop: Stop) -> int:
        """Send the blocks that differ from what was sent; their bytes. `status` is older than that.

        The fingerprints are of the very bytes that are sent.
        """
        file.signature, file.stop = _signature(status), stop
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

    def look(self) -> None:
        """All is frozen: which files may have a page that was written without new times."""
        self._last = Stop(0, self._mapped())

    def content(self, descriptor: int, status: os.stat_result) -> int | None:
        """As `Staging.content`: what has changed since the rounds is sent by this."""
        identity = _identity(status)
        file = self._files.get(identity)
        if file is None or file.used or status.st_size > MOST_BYTES:
            return None
        file.used = True
        if self._last.mapped.may_hold(identity) or not self._is_as_sent(file, status):
            self._send(file, descriptor, status, Stop())
        return file.number


def _clock_offset() -> int:
    """How far the wall clock is ahead of the monotonic one, in ns: it changes when it is set."""
    return time.time_ns() - time.monotonic_ns()


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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
            if not _is_large(status, device):
                continue
            descriptor = os.open(name, _READ, dir_fd=directory)
            try:
                status = os.fstat(descriptor)
                if _is_large(status, device):
                    yield descriptor, status
            finally:
                os.close(descriptor)


def _is_large(status: os.stat_result, device: int) -> bool:
    regular = status.st_dev == device and stat.S_ISREG(status.st_mode)
    return regular and LEAST_BYTES <= status.st_size <= MOST_BYTES
