"""The tracker `soft-dirty`: the kernel's mark on written page table entries, as CRIU uses it.

For kernels with CONFIG_MEM_SOFT_DIRTY where write protection can't be had. To read the marks and to
take them off are two steps, so each round freezes the container's control group for them. Nothing
is put into a process.

A page counts as unwritten when it has no mark *and* is where it was at the last round: in the same
page frame, or the same place of the swap space. The mark alone does not do. mremap(2) of 2 MiB and
more moves whole page tables, with marks as they are (Linux, mm/mremap.c, move_normal_pmd; seen on
6.12), so that other pages may stand at an address, unmarked. All else is marked: what is new,
copied after a fork, given back and written again. What an execve(2) leaves is another address
space. A page that the kernel has moved to another frame is told once more than need be.

The marks are one set for each address space: who else clears them, breaks the tracking. A process
that holds /proc/PID/clear_refs open, as some garbage collectors do, is not tracked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from migrate.checkpoint.tracking import trust
from migrate.checkpoint.tracking.tracked import SpaceGone
from migrate.checkpoint.tracking.tracker import Final, Tracker, Written, nobody
from migrate.checkpoint.tracking.trust import Identity, Untrackable
from migrate.errors import HostNotReady
from migrate.kernel import pagemap, probes, processes
from migrate.kernel.maps import Mapping, parse_maps, read_maps
from migrate.kernel.pagemap import PagemapScanner, merge_runs, scans_guards
from migrate.runtime.cgroups.group import ControlGroup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "soft-dirty"
_EXISTS = pagemap.PAGE_IS_PRESENT | pagemap.PAGE_IS_SWAPPED


def why_not() -> str:
    """Why this host can't track by soft-dirty marks; "" where it can. Takes some ms."""
    if complaint := probes.soft_dirty():
        return f"the kernel keeps no soft-dirty marks (CONFIG_MEM_SOFT_DIRTY): {complaint}"
    if complaint := probes.pagemap_scan():
        return f"PAGEMAP_SCAN (Linux 6.7), which finds the pages: {complaint}"
    return "" if probes.shows_frames() else "page frames are hidden from us (CAP_SYS_ADMIN)"


def track(group: ControlGroup, init_pid: int) -> Tracker:
    """A tracker of the processes of a control group, which it freezes for a moment each round.

    `init_pid` is the container's init on this host. Raises HostNotReady; FileNotFoundError when
    init is gone. Rounds raise CgroupFailed, too.
    """
    if complaint := why_not():
        raise HostNotReady("written pages can't be tracked by soft-dirty", cause=complaint)
    return SoftDirty(group, init_pid)


class SoftDirty:
    """See `Tracker`."""

    name = NAME

    def __init__(self, group: ControlGroup, init_pid: int) -> None:
        self.untracked: dict[int, str] = {}
        self._group = group
        self._depth = len(processes.status_fields(init_pid)["NSpid"].split())
        self._scanner = PagemapScanner()
        self._guards = scans_guards()
        self._tracked: dict[int, _MarkedProcess] = {}

    def round(self) -> list[Written]:
        """See `Tracker`."""
        try:
            self.untracked = {}
            with self._group.held():
                seen = list(self._look())
            return [process.written(*look) for process, *look in seen]
        except BaseException:
            # The marks that this round has taken off are lost.
            self.close()
            raise

    def _look(self) -> Iterator[tuple[_MarkedProcess, NDArray[np.uint64], NDArray[np.uint64]]]:
        """Each process with its pages and their entries, its marks taken off."""
        identities = trust.identities(self._group.pids())
        for pid in self._tracked.keys() - identities.keys():
            self._tracked.pop(pid).close()
        for pid, identity in identities.items():
            try:
                process = self._process(pid, identity, identities)
                yield process, *process.look_and_clear()
            except Untrackable as error:
                self._refuse(pid, f"it {error}")
            except OSError as error:
                self._refuse(pid, f"it can't be tracked: {error.strerror}")

    def _process(
        self, pid: int, identity: Identity, identities: dict[int, Identity]
    ) -> _MarkedProcess:
        trust.check_process(pid)
        _check_marks_are_ours(pid)
        known = self._tracked.get(pid)
        if known is not None and known.identity == identity:
            return known
        if known is not None:
            self._tracked.pop(pid).close()
        inner = trust.inner_pid(pid, self._depth)
        trust.check_alone(pid, identity, identities)
        self._tracked[pid] = _MarkedProcess(pid, inner, identity, self._scanner, self._guards)
        return self._tracked[pid]

    def _refuse(self, pid: int, why: str) -> None:
        if pid in self._tracked:
            self._tracked.pop(pid).close()
        self.untracked[pid] = why

    def final(self, tell: Callable[[Final], None] = nobody) -> list[Final]:
        """See `Tracker`; the marks stay as they are."""
        self.untracked = {}
        found = []
        for pid, identity in trust.identities(self._group.pids()).items():
            process = self._tracked.get(pid)
            try:
                if process is None:
                    raise Untrackable("is not tracked since the last round")
                if process.identity != identity:
                    raise Untrackable("executed a program after the last round")
                final = process.final()
            except Untrackable as error:
                self.untracked[pid] = f"it {error}"
            except (OSError, SpaceGone) as error:
                self.untracked[pid] = f"it can't be read: {error}"
            else:
                found.append(final)
                tell(final)
        return found

    def close(self) -> None:
        """See `Tracker`. Pages stay write-protected; each is so for its next write only."""
        while self._tracked:
            self._tracked.popitem()[1].close()


def _check_marks_are_ours(pid: int) -> None:
    """Raises Untrackable for a process that clears marks itself; OSError when it is gone."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if entry.readlink().name == "clear_refs":
                raise Untrackable("has its /proc/PID/clear_refs open")


class _MarkedProcess:
    """A process, and where each of its pages was when its marks were taken off last."""

    def __init__(
        self, pid: int, inner_pid: int, identity: Identity, scanner: PagemapScanner, guards: bool
    ) -> None:
        """The process is frozen; raises OSError."""
        import numpy as np

        self.pid, self.inner_pid, self.identity = pid, inner_pid, identity
        self._scanner = scanner
        self._guard = pagemap.PAGE_IS_GUARD if guards else 0
        self._numbers = self._places = np.empty(0, dtype=np.uint64)
        self._text = b""
        self._fitting: list[Mapping] = []
        self._pagemap = -1
        self._maps = os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self._maps, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._maps = self._pagemap = -1

    def look_and_clear(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """The numbers of the pages that exist, and their entries; then the marks are off.

        Raises OSError, Untrackable.
        """
        runs = [self._exist(mapping)[:, :2] for mapping in self._mappings()]
        numbers = pagemap.page_numbers(merge_runs(_joined(runs)))
        entries = pagemap.read_entries(self._pagemap, numbers)
        Path(f"/proc/{self.pid}/clear_refs").write_text(pagemap.CLEAR_SOFT_DIRTY)
        return numbers, entries

    def written(self, numbers: NDArray[np.uint64], entries: NDArray[np.uint64]) -> Written:
        """What a look has found; it is remembered for the next."""
        runs = pagemap.page_runs(numbers[self._differ(numbers, entries)])
        self._numbers, self._places = numbers, pagemap.places(entries)
        return Written(self.pid, self.inner_pid, runs, _array([]))

    def final(self) -> Final:
        """The state of the frozen process; raises OSError, Untrackable."""
        regions, present = [], []
        for mapping in self._mappings():
            pages = self._exist(mapping)
            if self._guard and (pages[:, 2] & self._guard).any():
                continue
            regions.append((mapping.start, mapping.end))
            present.append(pages[:, :2])
        all_of_it = merge_runs(_joined(present))
        numbers = pagemap.page_numbers(all_of_it)
        entries = pagemap.read_entries(self._pagemap, numbers)
        written = pagemap.page_runs(numbers[self._differ(numbers, entries)])
        return Final(
            self.pid, self.inner_pid, merge_runs(_array(regions)), all_of_it, written,
            _array([]), _array([]),
        )  # fmt: skip

    def _differ(
        self, numbers: NDArray[np.uint64], entries: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Which pages are marked, or not where they were at the last look."""
        import numpy as np

        if not len(self._numbers):
            return np.ones(len(numbers), dtype=np.bool_)
        at = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        same = (self._numbers[at] == numbers) & (self._places[at] == pagemap.places(entries))
        marked = pagemap.soft_dirty(entries) | (entries == 0)
        differ: NDArray[np.bool_] = ~same | marked
        return differ

    def _mappings(self) -> list[Mapping]:
        """What can be vouched for now; raises OSError, Untrackable."""
        text = read_maps(self._maps)
        if not text:
            raise Untrackable("is ending")
        if text != self._text:
            found = parse_maps(text)
            trust.check_mappings(found)
            wiped = trust.wiped_on_fork(self.pid)
            self._text = text
            self._fitting = [
                m for m in found
                if trust.is_private_anonymous(m) and trust.fits(self.pid, m)
                and m.start not in wiped
            ]  # fmt: skip
        return trust.without_locked(self.pid, self._fitting)

    def _exist(self, mapping: Mapping) -> NDArray[np.uint64]:
        """Runs of pages that exist and are not the zero page, (n, 3)."""
        zero = pagemap.PAGE_IS_PFNZERO
        return self._scanner.scan(
            self._pagemap, mapping.start, mapping.end, mask=zero, inverted=zero, any_of=_EXISTS,
            returned=self._guard,
        )  # fmt: skip


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    import numpy as np

    return np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.uint64)


def _array(runs: list[tuple[int, int]]) -> NDArray[np.uint64]:
    import numpy as np

    return np.array(runs, dtype=np.uint64).reshape(-1, 2)
