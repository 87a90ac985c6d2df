"""One process under asynchronous write protection."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from migrate.checkpoint.tracking import trust
from migrate.checkpoint.tracking.tracker import Final, Written
from migrate.checkpoint.tracking.trust import Identity, Untrackable
from migrate.kernel import processes, userfaultfd
from migrate.kernel.injection import HeldTask, in_task
from migrate.kernel.libc import syscall_number
from migrate.kernel.maps import Mapping, parse_maps, read_maps
from migrate.kernel.pagemap import (
    PAGE_IS_FILE,
    PAGE_IS_GUARD,
    PAGE_IS_PFNZERO,
    PAGE_IS_PRESENT,
    PAGE_IS_SWAPPED,
    PAGE_IS_WRITTEN,
    PM_SCAN_CHECK_WPASYNC,
    PM_SCAN_WP_MATCHING,
    PagemapScanner,
    merge_runs,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXISTS = PAGE_IS_PRESENT | PAGE_IS_SWAPPED
_PIDFD_THREAD = os.O_EXCL  # include/uapi/linux/pidfd.h, Linux 6.9
_THREADS_TRIED = 3
_PAGE = 4096


class SpaceGone(Exception):
    """The address space that was tracked is no more: an exit, or an execve(2)."""


class Descriptors:
    """A process's userfaultfd, maps and pagemap, all of one address space."""

    def __init__(self, pid: int, uffd: int) -> None:
        """Take over `uffd`; the caller holds the task, so that it can't exec in between."""
        self.uffd = uffd
        self.maps = self.pagemap = -1
        try:
            self.maps = os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
            self.pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all; with its userfaultfd the kernel ends every registration."""
        for descriptor in (self.uffd, self.maps, self.pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self.uffd = self.maps = self.pagemap = -1


class Parts:
    """Runs of pages of one process, by whether CRIU can restore them lazily."""

    def __init__(self) -> None:
        self._lazy: list[NDArray[np.uint64]] = []
        self._eager: list[NDArray[np.uint64]] = []

    def add(self, mapping: Mapping, pages: NDArray[np.uint64]) -> None:
        """Pages of a mapping, in ascending order: (n, 2 or more)."""
        (self._eager if mapping.inode else self._lazy).append(pages)

    def runs(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Those that can be, and those of files."""
        return merge_runs(_joined(self._lazy)), merge_runs(_joined(self._eager))


class TrackedProcess:
    """A process, its descriptors, and the scans of its mappings.

    Which mappings are registered is asked of the kernel at each scan (PM_SCAN_CHECK_WPASYNC), not
    remembered: a mapping that came by mmap, mremap or brk is not, and one that was split, merged,
    grown or shrunk is.
    """

    def __init__(
        self, pid: int, inner_pid: int, identity: Identity, scanner: PagemapScanner, *,
        guards: bool, eager: bool,
    ) -> None:  # fmt: skip
        """Put a userfaultfd into the process; raises Untrackable, OSError, SpaceGone.

        `guards`: whether the kernel tells guard pages; `eager`: whether private mappings of files
        are tracked, too.
        """
        self.pid, self.inner_pid, self.identity = pid, inner_pid, identity
        self._scanner = scanner
        self._eager = eager
        self._guard = PAGE_IS_GUARD if guards else 0
        self._text = b""  # of maps, as it was parsed last: that takes longer than to read it
        self._fitting: list[Mapping] = []
        self._wiped: frozenset[int] = frozenset()
        self._new: list[Mapping] = []
        self._descriptors = _inject(pid)
        try:
            userfaultfd.handshake(self._descriptors.uffd, userfaultfd.WP_ASYNC_FEATURES)
            if trust.identity(pid) != identity:
                raise SpaceGone
        except BaseException:
            self._descriptors.close()
            raise

    def is_gone(self) -> bool:
        """Whether its address space is no more."""
        return not read_maps(self._descriptors.maps)

    def has_new(self) -> bool:
        """Whether mappings have come that are not registered. Raises Untrackable, SpaceGone."""
        self._new = self._unregistered(running=True)
        return bool(self._new)

    def register_new(self) -> None:
        """Register what `has_new` has found, and what has come since; the process is frozen.

        Where a registration ends, the kernel divides a mapping that goes on. Had it grown since we
        looked, the program would find two where it has made one, and mremap(2) of both fails.
        Raises Untrackable, SpaceGone, OSError.
        """
        if read_maps(self._descriptors.maps) != self._text:
            self._new = self._unregistered(running=False)
            self._text = b""  # the round looks anew, at smaps, too
        for mapping in self._new:
            with _Unless(errno.EINVAL):  # userfaultfd refuses it, as MAP_DROPPABLE: always written
                self._register(mapping)

    def round(self) -> Written:
        """What was written since the round before; all of a mapping that is not registered yet.

        Raises Untrackable, SpaceGone, OSError: then what this round found is lost, and the process
        has to be tracked from the beginning.
        """
        self._lift_protection()
        found = Parts()
        for mapping in self._mappings(running=True):
            found.add(mapping, self._collect(mapping))
        trust.check_process(self.pid)
        return Written(self.pid, self.inner_pid, *found.runs())

    def final(self, identity: Identity) -> Final:
        """The state of the frozen process, which is `identity` now.

        Raises Untrackable, SpaceGone, OSError.

        A mapping that is new since the last round is vouched for, too, with all of its pages
        written: nothing changes any more, so that it needs no protection.
        """
        if identity != self.identity:
            raise SpaceGone
        regions: list[tuple[int, int]] = []
        present, written = Parts(), Parts()
        for mapping in self._mappings(running=False):
            pages = self._look(mapping)
            if self._guard and len(pages) and (pages[:, 2] & self._guard).any():
                continue
            regions.append((mapping.start, mapping.end))
            present.add(mapping, pages)
            written.add(mapping, pages[(pages[:, 2] & PAGE_IS_WRITTEN) != 0])
        (lazily, eager), (lazily_written, eager_written) = present.runs(), written.runs()
        return Final(
            self.pid, self.inner_pid, merge_runs(_array(regions)),
            lazily, lazily_written, eager, eager_written,
        )  # fmt: skip

    def close(self, *, copied: bool = False) -> None:
        """End the tracking; the process runs on, or is gone already.

        With the last userfaultfd the kernel ends all registrations at once. `copied`: another
        process has one, too; they are taken back one by one, then, as far as they can be told.
        """
        if self._descriptors.uffd < 0:
            return
        if copied:
            with contextlib.suppress(OSError):
                for mapping in parse_maps(read_maps(self._descriptors.maps)):
                    if trust.is_private_anonymous(mapping) or trust.is_private_file(mapping):
                        with contextlib.suppress(OSError):
                            userfaultfd.unregister(
                                self._descriptors.uffd, mapping.start, mapping.end
                            )
        self._descriptors.close()

    def is_copy(self, pid: int, number: int) -> bool:
        """Whether a descriptor of that process is our userfaultfd."""
        return processes.have_same_file(os.getpid(), self._descriptors.uffd, pid, number)

    def take_back(self, child: int) -> None:
        """Close a copy of our userfaultfd in a child; raises OSError.

        It has one when another thread forked it while ours had just opened the original.
        """
        for number in trust.userfaultfds(child):
            if self.is_copy(child, number):
                in_task(child, partial(_close_in, number=number), discard=lambda _: None)

    def _mappings(self, *, running: bool) -> list[Mapping]:
        """What can be vouched for now; smaps, which takes its time, is read while it is running."""
        text = read_maps(self._descriptors.maps)
        if not text:
            raise SpaceGone
        if text != self._text:
            found = parse_maps(text)
            trust.check_mappings(found)
            if running:
                self._wiped = trust.wiped_on_fork(self.pid)
            self._text = text
            self._fitting = [
                m
                for m in found
                if (self._eager or not m.inode)
                and trust.fits(self.pid, m)
                and m.start not in self._wiped
            ]
        return trust.without_locked(self.pid, self._fitting)

    def _scan(
        self, mapping: Mapping, *, flags: int, mask: int = 0, returned: int = 0
    ) -> NDArray[np.uint64]:
        """The pages of a mapping that exist, are its own, and have all of `mask`."""
        without = PAGE_IS_PFNZERO | (0 if returned & PAGE_IS_GUARD else self._guard)
        if mapping.inode:  # only there: for each page the kernel looks up what it belongs to
            without |= PAGE_IS_FILE
        return self._scanner.scan(
            self._descriptors.pagemap, mapping.start, mapping.end, flags=flags,
            mask=mask | without, inverted=without, any_of=_EXISTS, returned=returned,
        )  # fmt: skip

    def _collect(self, mapping: Mapping) -> NDArray[np.uint64]:
        with _Unless(errno.EPERM):
            return self._scan(
                mapping, flags=PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC, mask=PAGE_IS_WRITTEN
            )
        # It is new, or moved just now. Some of its pages may have been protected by the scan that
        # failed: all that exist are told, and the next round registers it.
        return self._scan(mapping, flags=0)

    def _unregistered(self, *, running: bool) -> list[Mapping]:
        return [m for m in self._mappings(running=running) if not self._is_registered(m)]

    def _is_registered(self, mapping: Mapping) -> bool:
        """Whether its first and last pages are: what is not divided by us is so as a whole."""
        with _Unless(errno.EPERM):
            for start in {mapping.start, mapping.end - _PAGE}:
                self._scanner.scan(
                    self._descriptors.pagemap, start, start + _PAGE, any_of=_EXISTS,
                    flags=PM_SCAN_CHECK_WPASYNC,
                )  # fmt: skip
            return True
        return False

    def _register(self, mapping: Mapping) -> None:
        mode = userfaultfd.UFFDIO_REGISTER_MODE_WP
        try:
            userfaultfd.register(self._descriptors.uffd, mapping.start, mapping.end, mode)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise Untrackable("uses userfaultfd itself") from error
            if error.errno in {errno.ENOMEM, errno.ESRCH}:
                raise SpaceGone from error
            raise

    def _lift_protection(self) -> None:
        """Of what was registered just now: all of it counts as written.

        Pages keep the mark "protected" through mremap before Linux 6.13, while they are written;
        and a scan that failed with EPERM has protected pages untold.
        """
        for mapping in self._new:
            with _Unless(errno.EINVAL, errno.ENOENT, errno.EAGAIN):  # it is gone, or being changed
                userfaultfd.write_protect(
                    self._descriptors.uffd, mapping.start, mapping.end, on=False
                )
        self._new = []

    def _look(self, mapping: Mapping) -> NDArray[np.uint64]:
        returned = PAGE_IS_WRITTEN | self._guard
        with _Unless(errno.EPERM):
            return self._scan(mapping, flags=PM_SCAN_CHECK_WPASYNC, returned=returned)
        pages = self._scan(mapping, flags=0, returned=returned)
        pages[:, 2] |= PAGE_IS_WRITTEN
        return pages


class _Unless:
    """Goes on behind the block when it raised an OSError with one of these errnos."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:  # fmt: skip
        return isinstance(error, OSError) and error.errno in self._numbers


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    import numpy as np

    return np.concatenate(parts) if parts else np.empty((0, 3), dtype=np.uint64)


def _array(runs: list[tuple[int, int]]) -> NDArray[np.uint64]:
    import numpy as np

    return np.array(runs, dtype=np.uint64).reshape(-1, 2)


def _inject(pid: int) -> Descriptors:
    """A userfaultfd of the process, by one of its threads; raises Untrackable, OSError."""
    complaint = "has no thread that could be stopped"
    for tid in _threads(pid)[:_THREADS_TRIED]:
        try:
            return in_task(tid, lambda held: _open_in(pid, held), discard=Descriptors.close)
        except OSError as error:
            if not Path(f"/proc/{pid}").exists():
                raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from error
            complaint = f"can't be entered: {error.strerror}"
    raise Untrackable(complaint)


def _open_in(pid: int, held: HeldTask) -> Descriptors:
    number = held.syscall(syscall_number("userfaultfd"), userfaultfd.OPEN_FLAGS)
    try:
        # Threads can have descriptor tables of their own.
        flags = 0 if held.tid == pid else _PIDFD_THREAD
        pidfd = os.pidfd_open(held.tid, flags)
        try:
            uffd = processes.pidfd_getfd(pidfd, number)
        finally:
            os.close(pidfd)
        return Descriptors(held.tid, uffd)
    finally:
        held.syscall(syscall_number("close"), number)


def _close_in(held: HeldTask, number: int) -> bool:
    held.syscall(syscall_number("close"), number)
    return True


def _threads(pid: int) -> list[int]:
    """The threads that can be expected to stop, the leader first."""
    found = []
    for entry in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if processes.stat_fields(f"{pid}/task/{entry.name}")[2] not in {"Z", "X", "x"}:
                found.append(int(entry.name))
    return sorted(found, key=lambda tid: (tid != pid, tid))
