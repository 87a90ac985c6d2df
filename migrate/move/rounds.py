"""Memory in rounds while the container runs, and the last of it while it is frozen.

A round asks the tracker which pages were written, and sends them to their places at the target.
What is written after the last round goes when all tasks are held: it is read while CRIU writes a
skeleton.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from migrate.checkpoint.smaps import KnownFlags
from migrate.checkpoint.tracking import choice
from migrate.checkpoint.tracking.remainder import remainder
from migrate.checkpoint.tracking.tracker import Final, Tracker, Written
from migrate.criu.skeleton.filter import Skeleton
from migrate.kernel.memory import read_runs
from migrate.kernel.processes import status_fields
from migrate.kernel.threads import Task
from migrate.move import memoryplace
from migrate.move.brake import Brake
from migrate.move.convergence import TOO_FAST, Round, enough, state_seconds
from migrate.move.inuse import InUse
from migrate.move.pagestore import AWAITED, DIRECTORY, EAGER, PRESENT
from migrate.move.progress import Event, Report
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.records import Process
from migrate.transfer.bulk import BulkSender
from migrate.transfer.errors import ConnectionLost, TimeLimitExceeded
from migrate.transfer.pages import ADDRESS_SPACE

if TYPE_CHECKING:
    import numpy

RENEWALS = 3
"""How often a round goes on over other data connections."""
LARGE = 64 << 20
"""Bytes of one process from which on its smaps takes CRIU longer than us (`checkpoint.smaps`)."""
LONGEST_SMAPS = 1 << 20
"""Bytes: what is longer is not kept for CRIU, in memory."""


class Beside(Protocol):
    """What else travels while the container runs, between the rounds of memory."""

    def again(self) -> None:
        """Send what has changed since, if it is worth it; raises what sending raises."""

    def predicted_pause(self) -> float:
        """Seconds for it in the pause, if the container were frozen now."""


WAITED = "another container was frozen: one more round of memory"


class Rounds:
    """The memory of one container on its way to the target."""

    def __init__(
        self, container: str, process: Process, bulk: BulkSender, out: Path, skeleton: Skeleton,
        report: Report, tracker: str, renew: Callable[[], BulkSender], *, eager: bool,
    ) -> None:  # fmt: skip
        """`out`: the directory of what is sent; `tracker`: of TRACKERS. Nothing is tracked yet.

        `renew`: other data connections in place of those that have failed; `eager`: whether the
        target takes the changed pages of mapped files (its facts say so).
        """
        self._eager = eager
        self._renew = renew
        self._tracker_name = tracker
        self._brake: Brake | None = None
        self._group = ControlGroup.of(container)
        self._process = process
        self._bulk = bulk
        self._out = out
        self._skeleton = skeleton
        self._report = report
        self._tracker: Tracker | None = None
        self._sender: Task[None] | None = None
        self._finals: list[Final] = []
        self._lists: list[str] = []  # files that say which pages there are
        self._known: set[int] = set()
        self._told: dict[int, int] = {}  # by host pid, the bytes that the first round told of
        self._flags: KnownFlags | None = None
        self._recent: dict[int, numpy.ndarray] = {}  # written between the last two rounds
        self.done: list[Round] = []
        self.late = False
        """Whether what is left at the freeze follows after the thaw."""
        memoryplace.make(out / DIRECTORY)

    def slow_down_if_need_be(self, usual_cores: float) -> None:
        """When the container writes too fast, slow it; `usual_cores`: its own limit, 0 for none.

        Raises CgroupFailed.
        """
        self._brake = Brake(self._group, usual_cores)

    def _track(self) -> Tracker:
        self._tracker = choice.track(
            self._tracker_name, self._group, self._process.pid, eager=self._eager
        )
        return self._tracker

    def skip(self) -> None:
        """No rounds: enter the processes, and let their memory follow, but for what can't.

        Raises what sending raises.
        """
        written = self._track().round()
        self._learn(written)
        self._send_eager(written)
        self.late = True

    def _send_eager(self, written: list[Written]) -> None:
        self._send_round([replace(part, runs=part.runs[:0]) for part in written])

    def watch(self) -> None:
        """Shortly before a freeze: learn what is in use (`in_use`); raises what sending raises."""
        assert self._tracker
        written = self._tracker.round()
        self._recent = {part.inner_pid: part.runs for part in written}
        self._send_eager(written)

    def run(
        self, budget: float, most: int, count: Callable[[int], None], beside: Beside | None = None
    ) -> str:  # fmt: skip
        """Rounds until `enough` says why; `budget` in seconds. Raises what sending raises."""
        tracker = self._track()
        scanned, most_sent = time.monotonic(), (0, 0.0)
        while True:
            if beside and self.done:
                beside.again()
            now = time.monotonic()
            written = tracker.round()
            begun, on_wire = time.monotonic(), self._bulk.wire_bytes
            self._send_round(written, count)
            seconds = time.monotonic() - begun
            most_sent = max(most_sent, (self._bulk.wire_bytes - on_wire, seconds))
            self._learn(written)
            if self.done:
                self._recent = {part.inner_pid: part.runs for part in written}
            done = Round(
                len(self.done), sum(_size(part.all_runs) for part in written), seconds,
                now - scanned, beside.predicted_pause() if beside else 0.0,
                state_seconds(*most_sent),
            )  # fmt: skip
            scanned = now
            self.done.append(done)
            why = self._after_braking(enough(self.done, budget, most))
            self._tell(done, why)
            if why:
                return why

    def catch_up(self) -> None:
        """One more round, where the freeze had to wait. Raises what sending raises."""
        assert self._tracker
        self._report(Event("note", WAITED))
        written = self._tracker.round()
        self._send_round(written)
        self._learn(written)

    def _send_round(
        self, written: list[Written], count: Callable[[int], None] | None = None
    ) -> None:  # fmt: skip
        """All of a round; once more over other connections if those have failed under way."""
        for left in reversed(range(RENEWALS + 1)):
            try:
                for part in written:
                    self._send(part.pid, part.inner_pid, part.all_runs, count)
                self._bulk.flush()
            except (ConnectionLost, TimeLimitExceeded) as error:
                if not left:
                    raise
                self._report(Event("note", f"{error.what}; connecting anew"))
                self._bulk = self._renew()
            else:
                return

    def _tell(self, done: Round, why: str) -> None:
        told = {
            "bytes": done.pages_bytes, "seconds": done.seconds, "dirty_rate": done.dirty_rate,
            "files_pause": done.beside, "predicted_pause": done.predicted_pause(), "last": why,
        }  # fmt: skip
        self._report(Event("round", f"round {done.number + 1}", told))

    def misses(self, budget: float) -> bool:
        """Whether the last round predicts a pause of more than `budget` seconds."""
        return self.done[-1].predicted_pause() > budget

    def _learn(self, written: list[Written]) -> None:
        """Before a round is `done`."""
        for part in written:
            self._told.setdefault(part.pid, _size(part.all_runs))
        if not self.done:
            self._learn_flags(written)

    def left_to_criu(self) -> int:
        """Bytes of memory that CRIU's images will hold, at most, if the container stays as it is.

        What `checkpoint.tracking.remainder` says; after the rounds, before the freeze.
        """
        assert self._tracker
        untracked = self._tracker.untracked
        return remainder(
            {pid: 0 if pid in untracked else self._told.get(pid, 0) for pid in self._group.pids()}
        )

    def _learn_flags(self, written: list[Written]) -> None:
        """Of large processes, whose mappings are registered from the first round on."""
        large = [part.pid for part in written if _size(part.runs) >= LARGE]
        if large:
            with contextlib.suppress(OSError):  # no BPF here: CRIU reads smaps
                self._flags = KnownFlags()
                for pid in large:
                    self._flags.learn(pid)

    def pages_miss(self, budget: float) -> bool:
        """Whether it `misses` for the last pages, rather than for what travels beside them."""
        last = self.done[-1]
        pages = last.predicted_pause() - last.without_pages()
        return self.misses(budget) and (last.without_pages() <= budget or pages >= last.beside)

    def _after_braking(self, why: str) -> str:
        """Why the rounds are over still, when it has been slowed if that is allowed."""
        if why is not TOO_FAST or not self._brake:
            return why
        cores = self._brake.tighten()
        if not cores:
            return "it can't be slowed any more"
        self._report(Event("note", f"slowed to {cores * 100:.0f} % of a core"))
        return ""

    def release_brake(self) -> None:
        """It is frozen: CRIU works in its control group now, and must not be slow."""
        if self._brake:
            self._brake.release()

    def _send(
        self, pid: int, inner_pid: int, runs: numpy.ndarray, count: Callable[[int], None] | None
    ) -> None:
        if len(runs):
            read = functools.partial(_read_if_there, pid)
            fresh = inner_pid not in self._known
            self._known.add(inner_pid)
            self._bulk.send_pages(f"{DIRECTORY}/{inner_pid}", runs, read, count, fresh=fresh)

    def held(self, then: Callable[[], None]) -> None:
        """All tasks are held: CRIU is told what to leave out, and the last pages begin to go.

        CRIU goes on meanwhile, and waits with each process until it has been looked at. `then`: in
        the thread that does it, when it is known what is left.
        """
        self._skeleton.begin_look()
        self._sender = Task("last-pages", functools.partial(self._look_and_send, then))

    def _look_and_send(self, then: Callable[[], None]) -> None:
        assert self._tracker
        try:
            self._finals = self._tracker.final(self._leave_out)
        finally:
            self._skeleton.end_look()
        then()
        self._send_last()

    def _leave_out(self, final: Final) -> None:
        self._skeleton.tell_smaps(final.pid, self._smaps(final))
        self._skeleton.leave_out(final.pid, final.regions)

    def _smaps(self, final: Final) -> bytes:
        """What CRIU is to read; b"" where it has to ask itself.

        Asked here it costs as much, but CRIU does not wait for it.
        """
        if self._flags and _size(final.present) >= LARGE:
            return self._flags.smaps(final.pid) or b""
        with contextlib.suppress(OSError), open(f"/proc/{final.pid}/smaps", "rb") as file:  # noqa: PTH123
            text = file.read()
            return text if len(text) <= LONGEST_SMAPS else b""
        return b""

    def _send_last(self) -> None:
        for final in self._finals:
            if self.late:
                self._send(final.pid, final.inner_pid, final.eager_written, None)
                self._announce(final)
            else:
                self._send(final.pid, final.inner_pid, final.all_written, None)
            self._list(final, PRESENT, final.present)
            if len(final.eager):
                self._list(final, EAGER, final.eager)
        self._bulk.send_files(self._out, self._lists)

    def _announce(self, final: Final) -> None:
        """What is left follows; its places are there."""
        if final.inner_pid not in self._known:
            self._bulk.send_blocks(f"{DIRECTORY}/{final.inner_pid}", ADDRESS_SPACE, ())
        self._list(final, AWAITED, self._left(final))

    def _left(self, final: Final) -> numpy.ndarray:
        return final.written if self.done else final.present

    def _list(self, final: Final, ending: str, runs: numpy.ndarray) -> None:
        name = f"{DIRECTORY}/{final.inner_pid}{ending}"
        with open(f"{self._out}/{name}", "wb", buffering=0) as file:  # noqa: PTH123 -- many, frozen
            file.write(runs.astype("<u8").tobytes())
        self._lists.append(name)

    def finish(self) -> list[str]:
        """Wait until the last pages and their lists are on their way; what has to follow them."""
        assert self._sender
        self._sender.result()
        return self._without_pages()

    def owed(self) -> dict[int, numpy.ndarray]:
        """By pid in the container, the runs that have not been sent; after `held`."""
        return {f.inner_pid: self._left(f) for f in self._finals} if self.late else {}

    def in_use(self) -> InUse:
        """What will be touched first, of what has not been sent; after `held`."""
        return InUse({final.inner_pid: final.written for final in self._finals}, self._recent)

    def _without_pages(self) -> list[str]:
        """Empty files for the processes that CRIU dumps whole: no pages of theirs are missing."""
        assert self._tracker
        depth = len(status_fields(self._process.pid)["NSpid"].split())
        names = []
        for pid, why in self._tracker.untracked.items():
            self._report(Event("untracked", f"process {pid}", {"pid": pid, "why": why}))
            inner_pid = status_fields(pid)["NSpid"].split()[depth - 1]
            for ending in ("", PRESENT):
                (self._out / DIRECTORY / f"{inner_pid}{ending}").write_bytes(b"")
                names.append(f"{DIRECTORY}/{inner_pid}{ending}")
        return names

    def close(self) -> None:
        """Track no more; the processes, if they live, run on as if they never had been."""
        self.release_brake()
        if self._sender:
            self._sender.join()
        if self._tracker:
            self._tracker.close()
        if self._flags:
            self._flags.close()


def _size(runs: numpy.ndarray) -> int:
    return int((runs[:, 1] - runs[:, 0]).sum()) if len(runs) else 0


def _read_if_there(pid: int, runs: numpy.ndarray, buffer: bytearray) -> numpy.ndarray:
    """A process that has ended meanwhile has no pages; the end of all is told by the last round."""
    try:
        return read_runs(pid, runs, buffer)
    except ProcessLookupError:
        return runs[:0]
