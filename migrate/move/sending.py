"""The conduct of a move at its source: from preflight to the end of the source's copy."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

import msgspec

from migrate.checkpoint.files import portable
from migrate.checkpoint.preflight import Verdict, joined
from migrate.checkpoint.state import State
from migrate.errors import MigrateError
from migrate.kernel import lsm
from migrate.kernel.reserve import Reserve
from migrate.kernel.signals import Signals
from migrate.move import collector, journal, pausing, plan, preparing, sharing, telling
from migrate.move.errors import (
    MemoryGone,
    MoveCommitted,
    MoveRefused,
    MoveRolledBack,
    MoveUncertain,
    not_written,
    rolled_back,
)
from migrate.move.facts import Facts, gather
from migrate.move.faultpoint import reached
from migrate.move.journal import Entry
from migrate.move.modes import LAZY, choose
from migrate.move.outgoing import CALL_LIMIT, Outgoing, Wish
from migrate.move.plan import Plan
from migrate.move.preflight.connections import CLOSE, NEW
from migrate.move.preflight.source import Case, verdicts_of
from migrate.move.preflight.target import read_wire
from migrate.move.progress import Event, Report, Result
from migrate.move.recovery import (
    conclude,
    connect_limit,
    destroy_source,
    far_side,
    roll_back,
    settle_source,
)
from migrate.move.serving import LASTING, PATIENCE, Serving
from migrate.move.transaction import Source, Step, Target, source_told
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.filling import await_filled
from migrate.runtime.networks import spanning, takes_addresses
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process
from migrate.runtime.status import require
from migrate.transfer.bulk import BulkSender
from migrate.transfer.ssh import Connection
from migrate.transfer.target import Target as Address

COMMIT_LIMIT = 20.0  # seconds; for the answer, and again for asking anew when there was none
SYNC_LIMIT = 600.0
LONG_WAIT = 0.1  # seconds for the turn to freeze: then one more round of memory is worth its time


class Move(Outgoing):
    """One move of one container, from this host to the far end of `connection`."""

    def __init__(
        self, paths: Paths, record: Record, connection: Connection, address: Address,
        wish: Wish, report: Report,
    ) -> None:  # fmt: skip
        super().__init__(paths, record, connection, address, wish, report)
        self.warning = self.mode = ""
        self.signals = Signals()
        self.reserve = Reserve()

    def plan(self) -> Plan:
        """Preflight: ask both hosts; nothing is changed but layers of a rootfs directory made."""
        self.phases.enter("preflight")
        status = require(self.paths, self.record, "running", "stopped")
        process = load_process(self.own)
        self.process = process if process and process.alive and process.started else None
        self.was_running = status.word == "running"
        self.there = msgspec.convert(self.agent.call("host.facts", timeout=CALL_LIMIT), Facts)
        here = self.here = gather(self.paths, self.wish.tracker)
        group = ControlGroup.of(self.record.identifier)
        in_use = group.memory_bytes() if self.process else 0
        limit = self.record.resources.memory
        apart = sharing.apart(group, limit) if self.process else sharing.Apart()
        choice = choose(
            self.wish.mode, status, here, self.there, in_use, apart,
            mapped=bool(self.record.user_namespace),
        )  # fmt: skip
        mode = self.mode = choice.mode
        self.record = portable(self.paths, self.record)
        state, found = plan.describe_for_plan(
            self.paths, self.record, self.spec, self.process if mode != "cold" else None
        )
        memory = in_use if mode != "cold" else 0
        state = self._as_wished(state)
        case = Case(
            mode, here, self.there, memory, apart, self.process, self.wish.tcp, self.wish.address,
            self.record.network, lsm.labels(group.pids()) if self.process else (),
            mapped=bool(self.record.user_namespace),
        )  # fmt: skip
        answer = self.agent.call(
            "move.check", state=state.encode(), cpu=case.cpu(), mode=mode, timeout=CALL_LIMIT
        )
        verdicts = [
            *verdicts_of(case, state, self.wish.skip),
            Verdict("binds", "mounts within its bind mounts", tuple(found), skippable=False),
            *read_wire(answer, self.wish.skip),
        ]
        self.phases.leave()
        self.state = state
        return Plan(
            self.record.name, self.record.identifier, str(self.address), self.there.name, mode,
            choice.reason, memory, tuple(answer["missing"]), joined(verdicts), choice.others,
            here.tracking if mode in LAZY else "",
        )  # fmt: skip

    def _as_wished(self, state: State) -> State:
        """With what the target is told of connections and addresses."""
        renewed = self.wish.address == NEW
        if renewed and takes_addresses(self.record.network):
            state = msgspec.structs.replace(state, record=plan.without_addresses(state.record))
        close = renewed or self.wish.tcp == CLOSE
        return msgspec.structs.replace(state, close_connections=close)

    def carry_out(self, made: Plan) -> Result:
        """Do what the plan says; raises MoveRefused, MoveRolledBack, Interrupted, MoveUncertain."""
        if made.obstacles:
            raise MoveRefused.together(f"'{made.name}' can't move", made.obstacles)
        begun = time.monotonic()
        with records.locked(self.own, f"move to {self.address}"), self.signals:
            try:
                self._move(made)
            finally:
                self.reserve.give_up()
                self.end_aids()
        return Result(
            container=made.container, name=made.name, target=str(self.address), mode=self.mode,
            generation=self.record.generation + 1,
            freeze_seconds=sum(self.frozen.seconds.values()), freeze_phases=self.frozen.seconds,
            phases=self.phases.seconds, total_seconds=time.monotonic() - begun,
            bytes_sent=self._sent, memory_bytes=made.memory_bytes,
            layers_sent=len(made.missing_layers), reason=made.reason, warning=self.warning,
        )  # fmt: skip

    def _move(self, made: Plan) -> None:
        with contextlib.ExitStack() as paused:
            try:
                try:
                    self._prepare(made)
                    if made.mode != "cold":
                        self._wait_for_turn()
                    paused.enter_context(collector.held())
                    pausing.pause(self, self.state, made.mode)
                    self._intend_commit()
                finally:
                    self.signals.deafen()
            except BaseException as error:
                raise self._undone(error) from error
            with self._no_way_back():
                self._commit()
            collector.look_at_new()
            self.turn.give()
            with self._no_way_back():
                self._finish()
        self._tell_where()

    def _prepare(self, made: Plan) -> None:
        if self.process:
            await_filled(self.own)
        self.phases.enter("prepare")
        with self.signals.held():
            preparing.enter_journal(self, made, was_running=self.was_running)
        preparing.prepare(self, made, self.state)
        assert self.entry
        self.mode = self.entry.mode
        self.phases.leave()

    def _wait_for_turn(self) -> None:
        """Until no other container of this host is frozen; what is written meanwhile is sent."""
        waited = self.turn.take()
        if self.rounds and self.mode == "post-copy":
            self.rounds.watch()
        elif waited > LONG_WAIT and self.rounds and not self.rounds.late:
            self.rounds.catch_up()

    def _undone(self, error: BaseException) -> BaseException:
        """Roll back; the error that tells so."""
        if self.serving and self.serving.failure and isinstance(error, MigrateError):
            error = self.serving.failure  # the rest fails with the connection, which it has cut
        self.reserve.give_up()
        self.frozen.leave()
        self.phases.leave()
        if self.entry:
            # Thaw first: no COMMIT was sent, so nobody has to be asked.
            error = self._rolled_back(error, self.entry)
            kept = self.kept_frames()
            if self.doorkeeper:
                self.doorkeeper.open()
            self.driver.deliver(self.own, kept)
            with contextlib.suppress(MigrateError):
                self.agent.call("move.settle", move=self.entry.move, timeout=15)
                self.agent.call("move.forget", move=self.entry.move, timeout=15)
        if self.bulk:
            self.bulk.abort()
        ended = self.process is not None and self.mode != "cold" and not self.process.alive
        return rolled_back(self.record.name, error, ended=ended)

    def _rolled_back(self, error: BaseException, entry: Entry) -> BaseException:
        """`error`, or what kept this host from writing down that it was undone."""
        try:
            roll_back(self.paths, entry)
        except (OSError, MemoryError) as refused:
            return not_written(self.record.name, error, refused)
        return error

    def _intend_commit(self) -> None:
        """Durable here, before it is asked for there; a failure still rolls back."""
        assert self.entry
        if self.serving:
            self.serving.no_way_back()
        self.frozen.enter("commit")
        self.entry = journal.write(self.paths, self.entry, Source.COMMITTING)

    @contextlib.contextmanager
    def _no_way_back(self) -> Iterator[None]:
        """What fails from COMMIT on is told as what it means for the container, whatever it is."""
        try:
            yield
        except MigrateError:
            raise
        except Exception as error:
            self.reserve.give_up()
            raise self._left_open(error) from error

    def _left_open(self, error: Exception) -> MigrateError:
        """No memory, a system call that was refused, or a defect; `recover` has to go on."""
        assert self.entry
        if self.entry.source_state is Source.COMMITTING:
            return self._uncertain(f"this command can't go on: {error!r}")
        if self.entry.source_state is Source.SERVING and self.serving:
            return self.serving.owed(error)
        return MoveCommitted(
            f"'{self.record.name}' runs on {self.address}, but what is left of it here is not gone",
            cause=f"this command can't go on: {error!r}",
        )

    def _commit(self) -> None:
        """The point of no return."""
        reached(self.paths, "committing")
        try:
            frames = self.unread_frames() + self.kept_frames()
            done = self.agent.call("move.commit", frames=frames, timeout=COMMIT_LIMIT)
            self.frozen.leave()
            self.report(Event("note", "committed", done))
        except MigrateError as error:
            self.frozen.leave()
            self._settle_doubt(error)

    def _settle_doubt(self, error: MigrateError) -> None:
        """COMMIT was sent and no answer came: ask anew, and stay frozen if nobody answers."""
        assert self.entry
        self.reserve.give_up()
        self.report(Event("note", "the answer to COMMIT is missing; asking again"))
        patience = self.wish.patience
        seconds = COMMIT_LIMIT if patience is None else patience
        outcome = settle_source(self.paths, self.entry, seconds=seconds, patience=patience)
        if outcome is Source.ABORTED:
            raise MoveRolledBack(
                f"'{self.record.name}' did not move, and runs here as before",
                cause=f"{error.what}: the target has wiped its copy",
            )
        if outcome is not Source.COMMITTED:
            raise self._uncertain(error.what)

    def _uncertain(self, cause: str) -> MoveUncertain:
        return MoveUncertain(
            f"it is not known whether '{self.record.name}' runs on {self.address}",
            cause=f"{cause}; the copy here is held frozen",
            mend=f"when {self.address} answers again, run 'migrate recover {self.record.name}'",
        )

    def _serve(self, serving: Serving) -> None:
        """Send what the target lacks still; raises PagesOwed, MemoryGone, MoveUncertain.

        After all of these the copy here is kept, for `recover`.

        A signal ends this command, and nothing else: it runs there.
        """
        assert self.entry
        assert self.bulk
        current = journal.read(self.paths, self.entry.move, "source")
        if current is None or current.source_state is Source.COMMITTED:
            return  # settled already, in doubt
        self.phases.enter("serve")
        self.entry = journal.write(self.paths, self.entry, Source.SERVING)
        self.signals.listen()
        try:
            reached(self.paths, "serving")
            state = self._serve_all(serving, self.bulk)
        except KeyboardInterrupt as error:
            raise serving.owed(error) from error
        finally:
            self.signals.deafen()
        serving.close()
        self.phases.leave()
        if source_told(Source.SERVING, state) is not Step.FORWARD:
            raise self._uncertain(f"asked for the end of the move, it answered '{state}'")

    def _serve_all(self, serving: Serving, bulk: BulkSender) -> Target | None:
        assert self.entry
        try:
            return serving.once(self.agent.call, bulk)
        except MemoryGone:
            raise
        except (MigrateError, OSError) as error:
            bulk.abort()
            if isinstance(error, LASTING):
                raise serving.owed(error) from error
            self.report(Event("note", f"the rest of memory waits: {error}; connecting anew"))
            self.connection.close()  # as long as its agent lives, no other one may settle the move
            patience = PATIENCE if self.wish.patience is None else self.wish.patience
            far = functools.partial(far_side, self.entry, within=connect_limit(patience))
            return serving.go_on(self.address, far, self.wish.rate_limit, patience)

    def _tell_where(self) -> None:
        """The other hosts of its network, where that is over several."""
        network = self.record.network
        if spanning(network.driver) is None:
            return
        try:
            told = self.agent.call(
                "network.located", network=network.name, container=self.record.identifier,
                timeout=CALL_LIMIT,
            )  # fmt: skip
            for located in telling.decode_located(told):
                for complaint in telling.moved(self.paths, network.name, located):
                    self.report(Event("note", f"{complaint}: run 'migrate network sync' there"))
        except (MigrateError, OSError) as error:
            self.report(Event("note", f"the peers of '{network.name}' were not told: {error}"))

    def _finish(self) -> None:
        """After COMMIT: end the source's copy, tell the target to forget."""
        assert self.entry
        assert self.bulk
        if self.serving:
            self._serve(self.serving)
        self.phases.enter("clean up")
        self._sent = self.sent_before + self.bulk.wire_bytes
        self._sent += self.serving.wire_bytes if self.serving else 0
        if journal.read(self.paths, self.entry.move, "source"):
            with contextlib.suppress(OSError):  # a full disk: the target's journal says it, too
                self.entry = journal.write(self.paths, self.entry, Source.COMMITTED)
            reached(self.paths, "committed")
            with contextlib.suppress(MigrateError):  # its files on its disk before ours go
                self.agent.call("move.settle", move=self.entry.move, timeout=SYNC_LIMIT)
            destroy_source(self.paths, self.entry)
        try:
            self.agent.call("move.forget", move=self.entry.move, timeout=CALL_LIMIT)
            journal.remove(self.paths, self.entry)
        except MigrateError:
            conclude(self.paths, self.entry)
        self.bulk.close()
        self.phases.leave()
