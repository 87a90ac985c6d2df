"""What the source has in hand while one of its containers moves away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migrate.checkpoint.netns.reading import Reader
from migrate.checkpoint.state import State
from migrate.criu.skeleton.filter import Skeleton
from migrate.move.facts import Facts
from migrate.move.filerounds import FileRounds
from migrate.move.journal import Entry
from migrate.move.progress import Event, Phases, Report
from migrate.move.rounds import Rounds
from migrate.move.serving import Serving
from migrate.move.treesahead import Ahead
from migrate.move.turn import Turn
from migrate.move.unaccepted import Doorkeeper
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.networks import driver_of
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record
from migrate.transfer.bulk import BulkSender
from migrate.transfer.ssh import Connection
from migrate.transfer.target import Target as Address

CALL_LIMIT = 120.0  # seconds


@dataclass(frozen=True)
class Wish:
    """What the user asked for."""

    mode: str = "auto"
    remote_command: str = ""
    rate_limit: int | None = None  # bytes a second
    stop_seconds: float = 10.0  # for the mode cold
    max_downtime: float = 0.3  # seconds; how long the pause may be, for the modes with rounds
    max_rounds: int = 30
    auto_converge: bool = False
    tracker: str = "auto"  # or one of tracking.choice.TRACKERS
    verify: bool = False  # compare all memory before COMMIT
    skip: tuple[str, ...] = ()  # checks of preflight that do not count
    tcp: str = "keep"  # what is done with open connections: keep, close, refuse
    address: str = "keep"  # or new: chosen by the target
    patience: float | None = None  # seconds; of asking anew from COMMIT on; None: the usual limits


class Outgoing:
    """One move at its source: filled by the steps, in their order; each finds here what is there.

    `entry` is None until the journal has the move; what is open then is closed by whoever ends it.
    """

    def __init__(
        self, paths: Paths, record: Record, connection: Connection, address: Address,
        wish: Wish, report: Report,
    ) -> None:  # fmt: skip
        self.paths, self.record, self.wish = paths, record, wish
        self.connection, self.address = connection, address
        self.agent = connection.client
        self.report = report
        self.phases, self.frozen = Phases(report), Phases(report)
        self.own = paths.container(record.identifier)
        self.spec = load_spec(paths, record)
        self.driver = driver_of(record.network.driver)
        self.state = State(record, self.spec, {}, ())  # as the target is told of it beforehand
        self.process: Process | None = None
        self.here: Facts | None = None
        self.there: Facts | None = None
        self.entry: Entry | None = None
        self.out = Path()
        self.bulk: BulkSender | None = None
        self.sent_before = 0  # bytes, by data connections that have failed
        self.skeleton: Skeleton | None = None
        self.rounds: Rounds | None = None
        self.files: FileRounds | None = None
        self.ahead: Ahead | None = None
        self.logs_ahead: set[str] = set()  # keys of full log files that the target has
        self.stand_in: StandIn | None = None
        self.network: Reader | None = None
        self.doorkeeper: Doorkeeper | None = None
        self.serving: Serving | None = None
        self.turn = Turn(paths)

    def counter(self, what: str, total: int) -> Callable[[int], None]:
        """Tells the progress towards `total` bytes, given those that were just sent."""
        done = 0

        def count(number: int) -> None:
            nonlocal done
            done += number
            self.report(Event("bytes", what, {"done": done, "total": total}))

        return count

    def unread_frames(self) -> list[bytes]:
        """What had come before that, and was not read."""
        if self.doorkeeper is None or self.process is None:
            return []
        pids = ControlGroup.of(self.record.identifier).pids()
        return self.doorkeeper.unread(pids, self.record.network.mac)

    def kept_frames(self) -> list[bytes]:
        """What came here for the container since it was frozen."""
        found = self.doorkeeper.frames() if self.doorkeeper else []
        return found + (self.stand_in.frames() if self.stand_in else [])

    def end_aids(self) -> None:
        """What helped to make the pause short is of no use any more."""
        self.turn.give()
        if self.rounds:
            self.rounds.close()
        if self.stand_in:
            self.stand_in.close()
        for held in (self.network, self.doorkeeper):
            if held:
                held.close()
        if self.serving:
            self.serving.close()
