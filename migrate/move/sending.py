"""The source's half of a move, and its conduct: from preflight to the end of the source's copy."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from migrate.checkpoint import dump as dumping
from migrate.checkpoint import freezing
from migrate.checkpoint.files import portable, write_files
from migrate.checkpoint.state import describe
from migrate.criu import client
from migrate.criu.skeleton import filter as dump_filter
from migrate.criu.skeleton.filter import Skeleton
from migrate.errors import MigrateError, from_wire
from migrate.images.store import Store
from migrate.kernel import conntrack
from migrate.kernel.signals import Signals
from migrate.move import journal, plan
from migrate.move.errors import MoveRefused, MoveRolledBack, MoveUncertain, rolled_back
from migrate.move.facts import Facts, gather
from migrate.move.faultpoint import reached
from migrate.move.filerounds import FileRounds
from migrate.move.journal import Entry
from migrate.move.modes import choose
from migrate.move.plan import Plan
from migrate.move.progress import Event, Phases, Report, Result
from migrate.move.receiving import layer_place
from migrate.move.recovery import destroy_source, roll_back, settle_source, tell_target
from migrate.move.rounds import Rounds
from migrate.move.transaction import Source
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.filling import await_filled
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.lifecycle.stop import stop_locked
from migrate.runtime.networks import driver_of
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record, load_process
from migrate.runtime.status import require
from migrate.transfer.bulk import BulkSender
from migrate.transfer.ssh import Connection
from migrate.transfer.target import Target as Address

CALL_LIMIT = 120.0  # seconds
COMMIT_LIMIT = 20.0
SYNC_LIMIT = 600.0
STAND_IN_LIMIT = 2.0
CONNECTIONS = 2
SKELETON = "skeleton"  # the directory of what CRIU is told to leave out, beside what is sent


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


class Move:
    """One move of one container, from this host to the far end of `connection`."""

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
        self.process: Process | None = None
        self.entry: Entry | None = None
        self.bulk: BulkSender | None = None
        self.skeleton: Skeleton | None = None
        self.rounds: Rounds | None = None
        self.files: FileRounds | None = None
        self.driver = driver_of(record.network.driver)
        self.stand_in: StandIn | None = None
        self.there: Facts | None = None
        self.warning = self.mode = ""
        self.signals = Signals()

    def plan(self) -> Plan:
        """Preflight: ask both hosts; nothing is changed but layers of a rootfs directory made."""
        self.phases.enter("preflight")
        status = require(self.paths, self.record, "running", "stopped")
        process = load_process(self.own)
        self.process = process if process and process.alive and process.started else None
        self.was_running = status.word == "running"
        self.there = msgspec.convert(self.agent.call("host.facts", timeout=CALL_LIMIT), Facts)
        here = gather(self.paths, self.wish.tracker)
        group = ControlGroup.of(self.record.identifier)
        in_use = group.memory_bytes() if self.process else 0
        choice = choose(self.wish.mode, status, here, self.there, in_use)
        mode = self.mode = choice.mode
        self.record = portable(self.paths, self.record)
        state, found = plan.describe_for_plan(
            self.paths, self.record, self.spec, self.process if mode != "cold" else None
        )
        memory = in_use if mode != "cold" else 0
        obstacles = found + plan.obstacles_of(mode, self.process, state, here, self.there, memory)
        answer = self.agent.call("move.check", state=state.encode(), timeout=CALL_LIMIT)
        obstacles += [from_wire(message) for message in answer["obstacles"]]
        self.phases.leave()
        self.state = state
        return Plan(
            self.record.name, self.record.identifier, str(self.address), self.there.name, mode,
            choice.reason, memory, tuple(answer["missing"]), tuple(obstacles), choice.others,
            here.tracking if mode == "pre-copy" else "",
        )  # fmt: skip

    def carry_out(self, made: Plan) -> Result:
        """Do what the plan says; raises MoveRefused, MoveRolledBack, Interrupted, MoveUncertain."""
        if made.obstacles:
            raise MoveRefused.together(f"'{made.name}' can't move", made.obstacles)
        begun = time.monotonic()
        with records.locked(self.own, f"move to {self.address}"), self.signals:
            try:
                self._move(made)
            finally:
                self._end_aids()
        return Result(
            container=made.container, name=made.name, target=str(self.address), mode=made.mode,
            generation=self.record.generation + 1,
            freeze_seconds=sum(self.frozen.seconds.values()), freeze_phases=self.frozen.seconds,
            phases=self.phases.seconds, total_seconds=time.monotonic() - begun,
            bytes_sent=self._sent, memory_bytes=made.memory_bytes,
            layers_sent=len(made.missing_layers), reason=made.reason, warning=self.warning,
        )  # fmt: skip

    def _move(self, made: Plan) -> None:
        try:
            try:
                self._prepare(made)
                self._pause(made)
                self._intend_commit()
            finally:
                self.signals.deafen()
        except BaseException as error:
            raise self._undone(error) from error
        self._commit()
        self._finish()

    def _end_aids(self) -> None:
        """What helped to make the pause short is of no use any more."""
        if self.rounds:
            self.rounds.close()
        if self.stand_in:
            self.stand_in.close()

    def _prepare(self, made: Plan) -> None:
        """All that can be done while the container runs."""
        assert self.there
        if self.process:
            await_filled(self.own)
        self.phases.enter("prepare")
        entry = Entry(
            move=journal.new_move(), role="source", state="", container=self.record.identifier,
            name=self.record.name, generation=self.record.generation, mode=made.mode,
            peer=str(self.address), peer_id=self.there.host_id,
            remote_command=self.wish.remote_command, was_running=self.was_running,
        )  # fmt: skip
        with self.signals.held():
            self.entry = journal.write(self.paths, entry, Source.PREPARING)
        self.out = journal.outgoing(self.paths, entry.move)
        (self.out / "criu").mkdir(mode=0o700, parents=True)
        if dump_filter.is_built():
            self.skeleton = Skeleton(self.out / SKELETON)
        self.agent.call(
            "move.prepare", move=entry.move, generation=entry.generation, mode=made.mode,
            was_running=self.was_running,
            sender=journal.host_id(self.paths), state=self.state.encode(), timeout=CALL_LIMIT,
        )  # fmt: skip
        self.bulk = BulkSender.open(
            self.address, entry.move, connections=CONNECTIONS,
            rate_limit=self.wish.rate_limit, command=self.wish.remote_command or None,
        )  # fmt: skip
        self._send_layers(made)
        self.agent.call("move.place", timeout=CALL_LIMIT)
        reached(self.paths, "prepared")
        self.stand_in = self.driver.stand_in(self.own, self.record.network)
        if made.mode == "pre-copy":
            self._send_memory(made)
        self.phases.leave()

    def _send_memory(self, made: Plan) -> None:
        """The rounds, of files first."""
        assert self.bulk
        assert self.process
        if self.there and self.there.staged_files:
            self.files = FileRounds(self.paths, self.record, self.bulk, self.phases)
        self.phases.enter("memory")
        assert self.skeleton
        self.rounds = Rounds(
            self.record.identifier,
            self.process,
            self.bulk,
            self.out,
            self.skeleton,
            self.report,
            made.tracker,
        )
        if self.wish.auto_converge:
            self.rounds.slow_down_if_need_be(self.record.resources.cpus)
        count = self._counter("memory", made.memory_bytes)
        self.rounds.run(self.wish.max_downtime, self.wish.max_rounds, count)
        reached(self.paths, "memory-sent")

    def _send_layers(self, made: Plan) -> None:
        assert self.bulk
        assert self.entry
        store = Store(self.paths.images)
        sizes = [store.layer_blob_path(d).stat().st_size for d in made.missing_layers]
        counter = self._counter("layers", sum(sizes))
        for diff_id in made.missing_layers:
            with store.open_layer_blob(diff_id) as blob:
                name = layer_place(Path(), diff_id)
                self.bulk.send_file_from(blob.fileno(), name, counter)
            self.bulk.flush()
            self.agent.call("move.add_layer", diff_id=diff_id, timeout=None)

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        done = 0

        def count(number: int) -> None:
            nonlocal done
            done += number
            self.report(Event("bytes", what, {"done": done, "total": total}))

        return count

    def _pause(self, made: Plan) -> None:
        """From the freeze to a copy that waits, whole and frozen, at the target."""
        assert self.entry
        if made.mode == "cold":
            self._stop_and_write()
            names = self._names
        else:
            with client.swrk(self.skeleton.environment() if self.skeleton else None) as criu:
                names = self._freeze_and_dump(criu)
        reached(self.paths, "dumped")
        self._send(names)
        self.frozen.enter("restore")
        done = self.agent.call("move.restore", timeout=CALL_LIMIT)
        self.frozen.leave()
        self.report(Event("note", "restored", done))
        reached(self.paths, "restored")

    def _hold(self) -> None:
        """The journal says frozen, the record says held: nobody else lets it run."""
        assert self.entry
        self.entry = journal.write(self.paths, self.entry, Source.FROZEN)
        self._stored = msgspec.structs.replace(
            records.find(self.paths, self.record.identifier), held=self.entry.move
        )
        records.save(self.paths, self._stored)

    def _stop_and_write(self) -> None:
        self._hold()
        if self.process:
            self.frozen.enter("stop")
            stop_locked(self.paths, self.record, self.wish.stop_seconds)
        self.frozen.enter("files")
        self._names = write_files(self.paths, self.state, self.out)
        self.frozen.leave()

    def _freeze_and_dump(self, criu: client.Swrk) -> list[str]:
        """Freeze; CRIU dumps while this process writes the files."""
        assert self.process
        assert self.entry
        assert criu.process
        self.entry = msgspec.structs.replace(
            self.entry, criu_pid=criu.process.pid,
            criu_start_time=records.process_of(criu.process.pid).start_time,
        )  # fmt: skip
        state = describe(self.paths, self.record, self.spec, self.process)
        self._hold()
        self.frozen.enter("freeze")
        freezing.freeze(self.paths, self.record)
        if self.rounds:
            self.rounds.release_brake()
        hand_over = threading.Thread(target=self._hand_over_address, name="address", daemon=True)
        hand_over.start()
        reached(self.paths, "frozen")
        self.frozen.enter("dump")
        names = dumping.dump_with_files(
            self.paths, criu, state, self.process, self.out, self._tasks_held, self.files
        )
        if self.rounds:
            names += self.rounds.finish()
        hand_over.join()
        self.frozen.leave()
        return names

    def _tasks_held(self) -> None:
        """Nothing runs, no packet passes, and CRIU has dumped nothing yet."""
        assert self.process
        if self.skeleton and conntrack.tracked(self.process.pid) == 0:
            self.skeleton.leave_out_connections()
        if self.rounds:
            self.rounds.held()

    def _hand_over_address(self) -> None:
        """From here on the target takes the container's packets; without that they are lost."""
        if self.stand_in:
            with contextlib.suppress(MigrateError):
                self.agent.call("move.stand_in", timeout=STAND_IN_LIMIT)

    def _kept_frames(self) -> list[bytes]:
        """What came here for the container since it was frozen."""
        return self.stand_in.frames() if self.stand_in else []

    def _send(self, names: list[str]) -> None:
        assert self.bulk
        self.frozen.enter("transfer")
        total = sum((self.out / name).stat().st_size for name in names)
        self.bulk.send_files(self.out, names, self._counter("state", total))
        self.bulk.flush()
        self.frozen.leave()

    def _undone(self, error: BaseException) -> BaseException:
        """Roll back; the error that tells so."""
        self.frozen.leave()
        self.phases.leave()
        if self.entry:
            # Thaw first: no COMMIT was sent, so nobody has to be asked.
            roll_back(self.paths, self.entry)
            self.driver.deliver(self.own, self._kept_frames())
            with contextlib.suppress(MigrateError):
                self.agent.call("move.settle", move=self.entry.move, timeout=15)
                self.agent.call("move.forget", move=self.entry.move, timeout=15)
        if self.bulk:
            self.bulk.abort()
        ended = self.process is not None and self.mode != "cold" and not self.process.alive
        return rolled_back(self.record.name, error, ended=ended)

    def _intend_commit(self) -> None:
        """Durable here, before it is asked for there; a failure still rolls back."""
        assert self.entry
        self.frozen.enter("commit")
        self.entry = journal.write(self.paths, self.entry, Source.COMMITTING)

    def _commit(self) -> None:
        """The point of no return."""
        reached(self.paths, "committing")
        try:
            frames = self._kept_frames()
            done = self.agent.call("move.commit", frames=frames, timeout=COMMIT_LIMIT)
            self.frozen.leave()
            self.report(Event("note", "committed", done))
        except MigrateError as error:
            self.frozen.leave()
            self._settle_doubt(error)

    def _settle_doubt(self, error: MigrateError) -> None:
        """COMMIT was sent and no answer came: ask anew, and stay frozen if nobody answers."""
        assert self.entry
        self.report(Event("note", "the answer to COMMIT is missing; asking again"))
        outcome = settle_source(self.paths, self.entry, seconds=COMMIT_LIMIT)
        if outcome is Source.ABORTED:
            raise MoveRolledBack(
                f"'{self.record.name}' did not move, and runs here as before",
                cause=f"{error.what}: the target has wiped its copy",
            )
        if outcome is not Source.COMMITTED:
            raise MoveUncertain(
                f"it is not known whether '{self.record.name}' runs on {self.address}",
                cause=f"{error.what}; the copy here is held frozen",
                mend=f"when {self.address} answers again, run 'migrate recover {self.record.name}'",
            )

    def _finish(self) -> None:
        """After COMMIT: end the source's copy, tell the target to forget."""
        assert self.entry
        assert self.bulk
        self.phases.enter("clean up")
        self._sent = self.bulk.wire_bytes
        if journal.read(self.paths, self.entry.move, "source"):
            with contextlib.suppress(OSError):  # a full disk: the target's journal says it, too
                self.entry = journal.write(self.paths, self.entry, Source.COMMITTED)
            reached(self.paths, "committed")
            with contextlib.suppress(MigrateError):  # its files on its disk before ours go
                self.agent.call("move.settle", move=self.entry.move, timeout=SYNC_LIMIT)
            destroy_source(self.paths, self.entry)
        try:
            self.agent.call("move.forget", move=self.entry.move, timeout=CALL_LIMIT)
        except MigrateError:
            tell_target(self.entry)
        self.bulk.close()
        self.phases.leave()
