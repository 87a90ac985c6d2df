"""The source's part of a move while the container is frozen: dumped, sent, restored there."""

from __future__ import annotations

import contextlib
import threading

import msgspec

from migrate.checkpoint import digests, freezing
from migrate.checkpoint import dump as dumping
from migrate.checkpoint.files import write_files
from migrate.checkpoint.state import State, describe
from migrate.criu import client
from migrate.errors import MigrateError
from migrate.kernel import conntrack
from migrate.kernel.threads import quick_switches
from migrate.move import journal
from migrate.move.earlyimages import EarlyImages
from migrate.move.errors import MemoryDiffers
from migrate.move.faultpoint import reached
from migrate.move.outgoing import CALL_LIMIT, Outgoing
from migrate.move.progress import Event
from migrate.move.transaction import Source
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.lifecycle.stop import stop_locked

STAND_IN_LIMIT = 2.0  # seconds
VERIFY_LIMIT = 3600.0


def pause(move: Outgoing, state: State, mode: str) -> None:
    """From the freeze to a copy that waits, whole and frozen, at the target."""
    if mode == "cold":
        names = _stop_and_write(move, state)
    else:
        environment = move.skeleton.environment() if move.skeleton else None
        with client.swrk(environment) as criu, quick_switches():
            names = _freeze_and_dump(move, criu)
    reached(move.paths, "dumped")
    _send(move, names)
    move.frozen.enter("restore")
    done = move.agent.call("move.restore", timeout=CALL_LIMIT)
    move.frozen.leave()
    move.report(Event("note", "restored", done))
    if move.wish.verify and mode != "cold":
        _verify(move)
    reached(move.paths, "restored")


def _verify(move: Outgoing) -> None:
    """Raises MemoryDiffers; then the copy there never runs."""
    move.frozen.enter("verify")
    answer = move.agent.call("move.verify", timeout=VERIFY_LIMIT)
    move.frozen.leave()
    move.report(Event("note", f"{answer['pages']} pages compared", answer))
    if wrong := answer["wrong"]:
        pages = ", ".join(f"{address:#x} of process {pid}" for pid, address in wrong[:5])
        raise MemoryDiffers(
            f"memory differs at the target in {answer['differ']} of {answer['pages']} pages",
            cause=f"the first: {pages}",
        )


def _hold(move: Outgoing) -> None:
    """The journal says frozen, the record says held: nobody else lets it run."""
    assert move.entry
    move.entry = journal.write(move.paths, move.entry, Source.FROZEN)
    record = records.find(move.paths, move.record.identifier)
    records.save(move.paths, msgspec.structs.replace(record, held=move.entry.move))


def _stop_and_write(move: Outgoing, state: State) -> list[str]:
    _hold(move)
    if move.process:
        move.frozen.enter("stop")
        stop_locked(move.paths, move.record, move.wish.stop_seconds)
    move.frozen.enter("files")
    names = write_files(move.paths, state, move.out, logs_ahead=move.logs_ahead)
    move.frozen.leave()
    return names


def _freeze_and_dump(move: Outgoing, criu: client.Swrk) -> list[str]:
    """Freeze; CRIU dumps while this process writes the files."""
    assert move.process
    assert move.entry
    assert criu.process
    move.entry = msgspec.structs.replace(
        move.entry, criu_pid=criu.process.pid,
        criu_start_time=records.process_of(criu.process.pid).start_time,
    )  # fmt: skip
    state = msgspec.structs.replace(
        describe(move.paths, move.record, move.spec, move.process),
        close_connections=move.state.close_connections,
    )
    _hold(move)
    move.frozen.enter("freeze")
    _freeze(move)
    if move.rounds:
        move.rounds.release_brake()
    hand_over = threading.Thread(
        target=_hand_over_address, args=(move,), name="address", daemon=True
    )
    hand_over.start()
    reached(move.paths, "frozen")
    move.frozen.enter("dump")
    assert move.bulk
    with EarlyImages(move.bulk, move.out, dumping.IMAGES) as early:
        names = dumping.dump_with_files(
            move.paths,
            criu,
            state,
            move.process,
            move.out,
            lambda: _tasks_held(move, early),
            move.ahead,
            skip=move.wish.skip,
            network=move.network,
            logs_ahead=move.logs_ahead,
        )
        names = early.finish(names)
    if move.wish.verify:
        names += [
            f"{digests.DIRECTORY}/{path.name}" for path in (move.out / digests.DIRECTORY).iterdir()
        ]
    if move.rounds:
        names += move.rounds.finish()
    hand_over.join()
    move.frozen.leave()
    return names


def _freeze(move: Outgoing) -> None:
    """At a moment at which no client waits to be accepted, if there is one soon."""
    if move.doorkeeper is None:
        freezing.freeze(move.paths, move.record)
    elif left := move.doorkeeper.freeze(move.paths, move.record, move.frozen):
        move.report(Event("note", f"{left} connections that nobody accepts will end"))


def _tasks_held(move: Outgoing, early: EarlyImages) -> None:
    """Nothing runs, no packet passes, and CRIU has dumped nothing yet."""
    assert move.process
    if move.wish.verify:
        group = ControlGroup.of(move.record.identifier)
        digests.write(digests.by_inner_pid(group.pids(), move.process.pid), move.out)
    if move.skeleton and conntrack.tracked(move.process.pid) == 0:
        move.skeleton.leave_out_connections()
    if move.rounds:
        move.rounds.held(lambda: _looked(move, early))
    else:
        early.begin()


def _looked(move: Outgoing, early: EarlyImages) -> None:
    """All that CRIU waits for is told; what is not sent before the thaw is known."""
    early.begin()
    if move.rounds and move.serving:
        move.serving.expect(move.rounds.owed(), move.rounds.in_use())


def _hand_over_address(move: Outgoing) -> None:
    """From here on the target takes the container's packets; without that they are lost."""
    if move.stand_in:
        with contextlib.suppress(MigrateError):
            there = move.agent.call("move.stand_in", timeout=STAND_IN_LIMIT)
            if isinstance(there, list) and len(there) == 2:  # an older target tells nothing
                move.stand_in.point_to(*map(str, there))


def _send(move: Outgoing, names: list[str]) -> None:
    assert move.bulk
    move.frozen.enter("transfer")
    total = sum((move.out / name).stat().st_size for name in names)
    with move.serving.out_of_the_way() if move.serving else contextlib.nullcontext():
        move.bulk.send_files(move.out, names, move.counter("state", total))
        move.bulk.flush()
    move.frozen.leave()
