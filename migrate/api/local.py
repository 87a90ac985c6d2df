"""Containers of this host: listed, checkpointed, restored, moved, settled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from migrate.checkpoint.bring_back import BroughtBack as Restored
from migrate.checkpoint.save import Saved as Checkpoint
from migrate.errors import MigrateError
from migrate.move.outgoing import Wish
from migrate.move.plan import Plan
from migrate.move.progress import Event, Result
from migrate.runtime import records
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import status_of

if TYPE_CHECKING:
    from migrate.checkpoint.preflight import Verdict
    from migrate.move.sending import Move
    from migrate.move.trace import Trace

__all__ = [
    "Checkpoint", "Container", "Restored", "Settled", "checkpoint", "containers", "move",
    "plan_move", "plan_moves", "recover", "restore",
]  # fmt: skip

Report = Callable[[Event], None]
Count = Callable[[str, int, int], None]
"""Hears of progress: the phase's name, bytes done, bytes in all (0 where that is not known)."""


def _silent(_event: Event) -> None:
    """Nobody listens."""


def _uncounted(_phase: str, _done: int, _total: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Container:
    """A container as it is now; `status` is running, paused, created, stopped or moved."""

    record: Record
    status: str
    pid: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name


def containers() -> list[Container]:
    """All containers of this host."""
    paths = Paths.from_environment()
    found = [(record, status_of(paths, record)) for record in records.load_all(paths)]
    return [Container(record, status.word, status.pid) for record, status in found]


def checkpoint(
    name: str, output: str | None = None, *, leave_running: bool = False,
    skip: Collection[str] = (), recipients: Sequence[str] = (), on_progress: Count = _uncounted,
) -> Checkpoint:  # fmt: skip
    """`migrate checkpoint`; raises what stands against it, and then the container runs on.

    `skip`: the checks of `check_checkpoint` that are not to keep it from being made. `recipients`:
    keys of age's or SSH's that the file is encrypted to.
    """
    from migrate.checkpoint.save import save

    paths = Paths.from_environment()
    record = records.find(paths, name)
    _prime()
    return save(
        paths, record, output, leave_running=leave_running, count=on_progress, skip=skip,
        recipients=recipients,
    )  # fmt: skip


def check_checkpoint(name: str, skip: Collection[str] = ()) -> list[Verdict]:
    """`migrate check` without a host: what stands against a checkpoint; nothing is touched.

    For a move: `plan_move(...).verdicts`. Raises ContainerUnknown, WrongState.
    """
    from migrate.checkpoint import preflight
    from migrate.runtime.lifecycle.create import load_spec
    from migrate.runtime.status import process_of_container, require

    paths = Paths.from_environment()
    record = records.find(paths, name)
    require(paths, record, "running")
    process = process_of_container(paths, record)
    return preflight.look(record, load_spec(paths, record), process, skip)


def restore(
    source: Path, *, name: str | None = None, identity: Path | None = None,
    on_progress: Count = _uncounted,
) -> Restored:  # fmt: skip
    """`migrate restore`; on any failure everything is as before.

    `identity`: the file with the key for an encrypted one.
    """
    from migrate.checkpoint.bring_back import bring_back

    _prime()
    return bring_back(Paths.from_environment(), source, name, count=on_progress, identity=identity)


def plan_move(name: str, target: str, wish: Wish | None = None, *, trace: Path | None = None,
              on_event: Report = _silent) -> Plan:  # fmt: skip
    """`migrate move --dry-run`: the plan with its obstacles; nothing is touched.

    Raises ContainerUnknown, TargetInvalid, and what connecting raises.
    """
    with _mover(name, target, wish or Wish(), trace, on_event) as mover:
        return mover.plan()


def plan_moves(
    names: Sequence[str], target: str, wish: Wish | None = None
) -> Iterator[tuple[str, Plan | MigrateError]]:
    """`plan_move` for several containers, over one connection, each with its name.

    What stands against one alone is in its place; raises TargetInvalid, and what connecting raises.
    """
    from migrate.move.sending import Move
    from migrate.transfer.errors import ConnectionLost
    from migrate.transfer.ssh import connect
    from migrate.transfer.target import Target

    paths, address, wish = Paths.from_environment(), Target.parse(target), wish or Wish()
    _prime()
    with connect(address, command=wish.remote_command or None) as connection:
        for name in names:
            try:
                record = records.find(paths, name)
                yield name, Move(paths, record, connection, address, wish, _silent).plan()
            except ConnectionLost:
                raise
            except MigrateError as error:
                yield name, error


def move(name: str, target: str, wish: Wish | None = None, *, trace: Path | None = None,
         on_event: Report = _silent) -> Result:  # fmt: skip
    """`migrate move`: the container `name` to `target`, USER@HOST[:PORT].

    Raises MoveRefused and other obstacles before anything is frozen; MoveRolledBack and Interrupted
    when it runs here as before; MoveUncertain and PagesOwed when `recover` has to settle it.
    """
    with _mover(name, target, wish or Wish(), trace, on_event) as mover:
        return mover.carry_out(mover.plan())


@contextlib.contextmanager
def _mover(
    name: str, target: str, wish: Wish, trace: Path | None, on_event: Report
) -> Iterator[Move]:  # fmt: skip
    from migrate.move.sending import Move
    from migrate.move.trace import Trace
    from migrate.transfer.ssh import connect
    from migrate.transfer.target import Target

    paths = Paths.from_environment()
    record = records.find(paths, name)
    address = Target.parse(target)
    traced = Trace(trace) if trace else None
    _prime()
    with connect(address, command=wish.remote_command or None) as connection:
        mover = Move(paths, record, connection, address, wish, _both(on_event, traced))
        with traced.of(mover) if traced else contextlib.nullcontext():
            yield mover


def _both(event: Report, trace: Trace | None) -> Report:
    if trace is None:
        return event

    def tell(told: Event) -> None:
        event(told)
        trace.event(told)

    return tell


def _prime() -> None:
    """CRIU's feature cache made beforehand; what is missing, preflight tells."""
    from migrate.criu.errors import CriuMissing, CriuProbeFailed
    from migrate.criu.provide import prime_feature_cache

    with contextlib.suppress(CriuMissing, CriuProbeFailed, OSError):
        prime_feature_cache()


@dataclass(frozen=True)
class Settled:
    """What has become of one move or restore that was cut off.

    `outcome`: aborted, committed, committing (undecided), serving (memory is owed), or
    "restore undone". `role` is source or target, "" for a restore.
    """

    container: str
    outcome: str
    move: str = ""
    role: str = ""
    peer: str = ""


def recover(
    names: Collection[str] = (), *, at: str = "", force: Literal["", "source", "target"] = "",
    patience: float | None = None, on_event: Report = _silent,
) -> Iterator[Settled]:  # fmt: skip
    """`migrate recover`: settle what was cut off, of the containers `names` or of all.

    `at`: the target's address now, if it has another one. `force`: which side has the container,
    where a target does not answer; whoever says so has looked. `patience`: seconds for which such
    a one is asked again (None: once), and without a page sent to one that lacks some (None: 60).
    Yields each as it is settled. Raises ContainerUnknown for a name that neither a journal nor a
    record has.
    """
    from migrate.move import journal
    from migrate.move.recovery import recover as settle
    from migrate.move.transaction import Step, Target

    decided = {"source": Step.ROLL_BACK, "target": Step.FORWARD}.get(force, Step.ASK)
    paths = Paths.from_environment()
    paths.make()
    entries = [e for e in journal.read_all(paths) if e.role == "source" or e.state != Target.DONE]
    known = {word for e in entries for word in (e.name, e.container)}
    for name in set(names) - known:
        records.find(paths, name)
    for entry in entries:
        if not names or {entry.name, entry.container} & set(names):
            outcome = settle(
                paths, entry, address=at, report=on_event, force=decided, patience=patience
            )
            yield Settled(entry.name, outcome, entry.move, entry.role, entry.peer)
    for undone in _undo_restores(paths, names):
        yield Settled(undone, "restore undone")


def _undo_restores(paths: Paths, names: Collection[str]) -> Iterator[str]:
    """The names of the containers whose restore was cut off, now put back."""
    from migrate.checkpoint.bring_back import undo_cut_off

    for record in records.load_all(paths):
        own = paths.container(record.identifier)
        if names and not {record.name, record.identifier} & set(names):
            continue
        if own.before_restore.exists():
            with records.locked(own, "recover"):
                if undo_cut_off(paths, record.identifier):
                    yield record.name
