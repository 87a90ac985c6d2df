"""Which files can't have changed since they were read, though the container ran on.

At the beginning of a round the container is frozen for a moment. In that moment no write(2) is
under way, and the files that are mapped shared are known. A file that is read after it, that was
not changed shortly before it, and that is not one of those, can't change any more without new times
(write(2) sets them before it writes, a shared mapping when a page of it is first written to; Linux,
file_update_time). Every other file is read again when all is frozen.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from migrate.checkpoint.files import Tree, trees, volume_names
from migrate.checkpoint.mapped import Identity, Mapped, shared_files
from migrate.images.changes import Signature, signature
from migrate.kernel.filesystems import BTRFS, EXT, F2FS, XFS, magic
from migrate.move.faultpoint import reached
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import CgroupFailed
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.storage import has_upper

RACY_NS = 50_000_000
"""File times come from a clock that ticks every 10 ms at worst."""
STEP_NS = 20_000_000
"""More than slewing makes of it in a move; less than what RACY_NS leaves."""
STOP_LIMIT = 1.0  # seconds; the freezer needs some ms
_STEADY = {EXT, XFS, BTRFS, F2FS}  # their files' times follow every write, mapped ones included


def clock_offset() -> int:
    """How far the wall clock is ahead of the monotonic one, in ns: it changes when it is set."""
    return time.time_ns() - time.monotonic_ns()


def identity(status: os.stat_result) -> Identity:
    """Which file it is, whatever its names are."""
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Stop:
    """A moment at which all processes were frozen; `begun` in ns of the wall clock, before it."""

    begun: int = 0
    mapped: Mapped = field(default_factory=Mapped)
    clock: int = 0  # see clock_offset, then

    def vouches(self, status: os.stat_result) -> bool:
        """Whether a file of these times, read after the stop, can't change without others.

        Not after a step of the wall clock, by which all of them are told.
        """
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        if abs(clock_offset() - self.clock) > STEP_NS:
            return False
        return newest < self.begun - RACY_NS and not self.mapped.may_hold(identity(status))


class Witness:
    """Looks at one container's processes and files, and says what of them is as it was."""

    def __init__(self, paths: Paths, record: Record) -> None:
        self._paths = paths
        self._group = ControlGroup.of(record.identifier)
        self._upper = paths.container(record.identifier).upper
        self._volumes = set(volume_names(record))
        self.trees: list[Tree] = [
            tree for tree in trees(paths, record) if has_upper(record) or not tree.overlay
        ]
        """Of a whole tree it can't be told yet which files differ from the image."""
        self._steady = {
            tree.directory.stat().st_dev for tree in self.trees if magic(tree.directory) in _STEADY
        }
        self._last = Stop()

    def stop(self) -> Stop:
        """Hold all processes for a moment. Where they don't stop, nothing is vouched for."""
        begun = time.time_ns()
        try:
            with self._group.held(STOP_LIMIT):
                reached(self._paths, "files-held")
                return Stop(begun, self._mapped(), clock_offset())
        except (CgroupFailed, OSError):
            return Stop()

    def _mapped(self) -> Mapped:
        """What may be mapped; anything, where another container uses one of the volumes."""
        others = records.load_all(self._paths) if self._volumes else []
        if any(
            self._volumes & set(volume_names(other))
            for other in others if other.identifier != self._group.name
        ):  # fmt: skip
            return Mapped()
        return shared_files(self._group.pids(), self._upper)

    def look(self) -> None:
        """All is frozen: which files may have a page that was written without new times."""
        self._last = Stop(0, self._mapped())

    def is_as_read(self, before: Signature, stop: Stop, status: os.stat_result) -> bool:
        """Whether a file, of this status now, has what was read of it after `stop`.

        `before`: its signature before it was read.
        """
        return (
            before == signature(status) and status.st_dev in self._steady and stop.vouches(status)
        )

    def is_as_read_then(self, before: Signature, stop: Stop, status: os.stat_result) -> bool:
        """The same, after `look`: with what mappings have written."""
        return not self._last.mapped.may_hold(identity(status)) and self.is_as_read(
            before, stop, status
        )
