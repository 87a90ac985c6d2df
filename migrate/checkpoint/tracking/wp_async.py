"""The tracker `wp-async`: userfaultfd write protection, resolved by the kernel (Linux 6.7).

Between two rounds:
- a new process (its pages are not protected after a fork) is entered at the next round, and all of
  it counts as written; so is one that has executed a program, since its old memory is gone;
- one that has ended is forgotten, and a pid is known by its start time;
- a new mapping is registered while all is frozen, about a millisecond, and counts as written whole
  (`TrackedProcess`);
- pages given back (munmap, MADV_DONTNEED) are not present, and written anew they are unprotected.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from migrate.checkpoint.tracking import trust
from migrate.checkpoint.tracking.tracked import SpaceGone, TrackedProcess
from migrate.checkpoint.tracking.tracker import Final, Tracker, Written, nobody
from migrate.checkpoint.tracking.trust import Identity, Untrackable
from migrate.errors import HostNotReady
from migrate.kernel import injection, probes, processes
from migrate.kernel.pagemap import PagemapScanner, scans_guards
from migrate.kernel.userfaultfd import UFFD_FEATURE_WP_ASYNC
from migrate.runtime.errors import CgroupFailed

Hold = Callable[[], AbstractContextManager[None]]
Result = TypeVar("Result")

NAME = "wp-async"
ATTEMPTS = 3
"""How often a process that does not let itself be entered is tried."""


def why_not() -> str:
    """Why this host can't track by write protection; "" where it can."""
    if platform.machine() != injection.MACHINE:
        return f"it enters processes on {injection.MACHINE} only, this is {platform.machine()}"
    try:
        features = probes.userfaultfd_features()
    except (OSError, LookupError) as error:
        return str(error)
    if not features & UFFD_FEATURE_WP_ASYNC:
        return "userfaultfd has no asynchronous write protection (Linux 6.7)"
    complaint = probes.pagemap_scan()
    return f"PAGEMAP_SCAN: {complaint}" if complaint else ""


def track(
    pids: Callable[[], list[int]], init_pid: int, hold: Hold, *, eager: bool = True
) -> Tracker:
    """A tracker of the processes that `pids` lists (thread-group leaders, on this host).

    `init_pid` is the container's init on this host. Within `hold` none of the processes runs; it
    raises CgroupFailed or OSError where that can't be had: what is new is registered another time
    then, and counts as written until then. Nothing is entered before the first `round`, which
    tells of all memory. Without `eager` private mappings of files are CRIU's. Raises HostNotReady;
    FileNotFoundError when init is gone.
    """
    if complaint := why_not():
        raise HostNotReady("written pages can't be tracked by wp-async", cause=complaint)
    return WpAsync(pids, init_pid, hold, eager)


class WpAsync:
    """See `Tracker`."""

    name = NAME

    def __init__(
        self, pids: Callable[[], list[int]], init_pid: int, hold: Hold, eager: bool
    ) -> None:
        self.untracked: dict[int, str] = {}
        self._pids, self._hold = pids, hold
        self._eager = eager
        self._depth = len(processes.status_fields(init_pid)["NSpid"].split())
        self._scanner = PagemapScanner()
        self._guards = scans_guards()
        self._tracked: dict[int, TrackedProcess] = {}
        self._attempts: dict[tuple[int, Identity], int] = {}

    def round(self) -> list[Written]:
        """See `Tracker`."""
        try:
            return self._round()
        except BaseException:
            # What the scans of this round found is lost, and won't be found again.
            self.close()
            raise

    def _round(self) -> list[Written]:
        identities = trust.identities(self._pids())
        for pid in self._tracked.keys() - identities.keys():
            self._tracked.pop(pid).close()
        self.untracked = {}
        with_new = [
            process for pid in identities
            if (process := self._tried(pid, partial(self._entered, pid, identities)))
            and self._tried(pid, process.has_new)
        ]  # fmt: skip
        if with_new:
            with contextlib.suppress(CgroupFailed, OSError), self._hold():
                for process in with_new:
                    self._tried(process.pid, process.register_new)
        rounds = [
            self._tried(pid, process.round)
            for pid in identities if (process := self._tracked.get(pid))
        ]  # fmt: skip
        return [written for written in rounds if written]

    def _tried(self, pid: int, work: Callable[[], Result | None]) -> Result | None:
        """What it returns; None for a process that can't be tracked, which is not any more then."""
        try:
            return work()
        except Untrackable as error:
            self._refuse(pid, f"it {error}")
        except (SpaceGone, FileNotFoundError, ProcessLookupError):
            self._refuse(pid, "it executed a program or was ending during the last round")
            if not trust.identities([pid]):
                del self.untracked[pid]  # it has ended
        except OSError as error:
            self._refuse(pid, f"it can't be tracked: {error.strerror}")
        return None

    def final(self, tell: Callable[[Final], None] = nobody) -> list[Final]:
        """See `Tracker`: no task is entered or stopped, and nothing is written to a process."""
        self.untracked = {}
        found = []
        for pid, identity in trust.identities(self._pids()).items():
            process = self._tracked.get(pid)
            try:
                if process is None:
                    raise Untrackable("is not tracked since the last round")
                final = process.final(identity)
            except Untrackable as error:
                self.untracked[pid] = f"it {error}"
            except (SpaceGone, FileNotFoundError, ProcessLookupError):
                self.untracked[pid] = "it executed a program after the last round"
            except OSError as error:
                self.untracked[pid] = f"it can't be read: {error.strerror}"
            else:
                found.append(final)
                tell(final)
        return found

    def close(self) -> None:
        """See `Tracker`."""
        copied = bool(self._tracked) and self._are_copied()
        while self._tracked:
            self._tracked.popitem()[1].close(copied=copied)

    def _are_copied(self) -> bool:
        """Whether a process has a copy of one of our userfaultfds (`TrackedProcess.take_back`)."""
        with contextlib.suppress(CgroupFailed, OSError):  # the group has gone, and all in it
            for pid in self._pids():
                with contextlib.suppress(OSError):
                    for number in trust.userfaultfds(pid):
                        if any(one.is_copy(pid, number) for one in self._tracked.values()):
                            return True
        return False

    def _refuse(self, pid: int, why: str) -> None:
        if pid in self._tracked:
            self._tracked.pop(pid).close(copied=True)
        self.untracked[pid] = why

    def _entered(self, pid: int, identities: dict[int, Identity]) -> TrackedProcess:
        """The process as it is now: one that executes a program is another one."""
        process = self._tracked.get(pid)
        if process is None or process.identity != identities[pid] or process.is_gone():
            if process is not None:
                self._tracked.pop(pid).close()
            process = self._tracked[pid] = self._enter(pid, identities)
        return process

    def _enter(self, pid: int, identities: dict[int, Identity]) -> TrackedProcess:
        identity = trust.identity(pid)
        if identity is None:
            raise ProcessLookupError
        inner = trust.inner_pid(pid, self._depth)
        if trust.userfaultfds(pid):
            for process in self._tracked.values():
                process.take_back(pid)
        trust.check_process(pid)
        trust.check_alone(pid, identity, identities)
        attempts = self._attempts.get((pid, identity), 0)
        if attempts >= ATTEMPTS:
            raise Untrackable(f"could not be entered, tried {attempts} times")
        self._attempts[pid, identity] = attempts + 1
        process = TrackedProcess(
            pid, inner, identity, self._scanner, guards=self._guards, eager=self._eager
        )
        del self._attempts[pid, identity]
        return process
