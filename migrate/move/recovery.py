"""Settling a move that was cut off: by this host's journal, and by asking the other side."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator

import msgspec

from migrate.checkpoint import freezing
from migrate.checkpoint.files import remove_volumes
from migrate.criu.client import wait_until_gone
from migrate.errors import MigrateError
from migrate.kernel.processes import is_running
from migrate.move import journal, memoryplace, receiving, telling
from migrate.move.brake import give_back
from migrate.move.errors import PeerChanged
from migrate.move.journal import Entry
from migrate.move.modes import LAZY
from migrate.move.progress import Report
from migrate.move.serving import PATIENCE, Call, Serving
from migrate.move.transaction import Source, Step, Target, source_alone, source_told
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import ContainerBusy, ContainerUnknown
from migrate.runtime.lifecycle.create import (
    forget_network,
    load_spec,
    prepare_and_launch,
    unmake,
)
from migrate.runtime.lifecycle.delete import dismiss_monitor
from migrate.runtime.networks import names, spanning
from migrate.runtime.paths import Paths
from migrate.runtime.records import load_process
from migrate.runtime.storage import remove_storage

CRIU_LIMIT = 30.0  # seconds that a CRIU left behind may take to end
CONNECT_SECONDS, LEAST = 10.0, 4.0
"""Seconds that connecting may take, and may take however little patience there is."""
BUSY_LIMIT = 30.0
"""Seconds for which a busy target is asked anew: its agent ends, or finds that its link is cut."""
Ask = Callable[[Entry], Target | None]


def ask_target(entry: Entry, address: str = "", within: float = CONNECT_SECONDS) -> Target | None:
    """Have the target settle its side, and return its answer; raises what connecting raises.

    `within`: seconds to connect. Raises PeerChanged when another host answers at that address.
    """
    with far_side(entry, address, within) as call:
        answer = call("move.settle", move=entry.move, timeout=60)
    return Target(answer) if answer else None


def connect_limit(patience: float | None) -> float:
    """Seconds that connecting may take for who has so much patience; None: the usual one."""
    return CONNECT_SECONDS if patience is None else min(CONNECT_SECONDS, max(patience, LEAST))


@contextlib.contextmanager
def far_side(
    entry: Entry, address: str = "", within: float = CONNECT_SECONDS
) -> Iterator[Call]:  # fmt: skip
    """The agent of the move's target, which may have another address now.

    Raises what connecting raises, and PeerChanged when another host answers there.
    """
    from migrate.transfer.ssh import connect
    from migrate.transfer.target import Target as Address

    where, command = Address.parse(address or entry.peer), entry.remote_command or None
    with connect(where, command=command, timeout=within) as far:
        facts = far.client.call("host.facts", timeout=30)
        if facts["host_id"] != entry.peer_id:
            raise PeerChanged(
                f"another host answers at {address or entry.peer}",
                cause=f"its identity is {facts['host_id'][:12]}, not {entry.peer_id[:12]}",
            )
        yield far.client.call


def _serve(
    paths: Paths, entry: Entry, address: str, report: Report, patience: float | None
) -> Target | None:  # fmt: skip
    """Send what the target lacks; its state then. Raises PagesOwed, MemoryGone."""
    from migrate.transfer.target import Target as Address

    serving = Serving(paths, entry, report)
    where = Address.parse(address or entry.peer)
    far = functools.partial(far_side, entry, address, connect_limit(patience))
    return serving.go_on(where, far, patience=PATIENCE if patience is None else patience)


def settle_source(
    paths: Paths, entry: Entry, *, seconds: float = 0.0, address: str = "",
    report: Report = lambda _: None, force: Step = Step.ASK, patience: float | None = None,
) -> Source:  # fmt: skip
    """Settle the source's side, asking the target where it must; the state it has come to.

    `force`: what a person has decided (ROLL_BACK or FORWARD) for the case that it does not answer;
    its answer counts before that. ROLL_BACK is not taken when it is known that COMMIT was carried
    out (SERVING): the copy there may run.

    Tries for `seconds` when the target does not answer, and for BUSY_LIMIT when an agent there
    still works on the move; then the state stays what it is, `committing` or `serving`, and the
    copy frozen. Where the target lacks pages, they are sent, with `patience` as for
    `Serving.go_on`. The container's lock is held by the caller. Raises PagesOwed, MemoryGone.
    """
    step, forced = source_alone(entry.source_state), False
    if step is Step.ASK:
        step, forced = _told_or_decided(entry, address, seconds, force, patience)
        if step is Step.SERVE:
            if entry.source_state is not Source.SERVING:
                entry = journal.write(paths, entry, Source.SERVING)
            step = source_told(Source.SERVING, _serve(paths, entry, address, report, patience))
        if step in {Step.ASK, Step.SERVE}:
            return entry.source_state
    if step is Step.ROLL_BACK:
        roll_back(paths, entry, fenced=forced)
        return Source.ABORTED
    entry = journal.write(paths, entry, Source.COMMITTED)
    destroy_source(paths, entry)
    if forced:  # nobody is there to be told
        journal.remove(paths, entry)
    return Source.COMMITTED


def _told_or_decided(
    entry: Entry, address: str, seconds: float, force: Step, patience: float | None
) -> tuple[Step, bool]:
    """What the target's answer allows, or else what a person has decided, and whether it is that.

    A target that is busy answers, and is not lost: nobody decides in its place.
    """
    begun = time.monotonic()
    while True:
        left = begun + seconds - time.monotonic()
        try:
            within = connect_limit(None if patience is None else left)
            return source_told(entry.source_state, ask_target(entry, address, within)), False
        except ContainerBusy:
            if time.monotonic() - begun > max(seconds, BUSY_LIMIT):
                return Step.ASK, False
        except MigrateError:
            if time.monotonic() - begun > seconds:
                forced = may_be_forced(entry.source_state, force)
                return force if forced else Step.ASK, forced
        time.sleep(1)


def may_be_forced(state: Source, force: Step) -> bool:
    """Whether a person's decision can stand for the target's answer in this state."""
    if force is Step.ROLL_BACK:
        return state is Source.COMMITTING
    return force is Step.FORWARD and state in {Source.COMMITTING, Source.SERVING}


def roll_back(paths: Paths, entry: Entry, *, fenced: bool = False) -> None:
    """Let the source's copy run as before the move; safe to repeat.

    `fenced`: the target could not be asked, and may have a copy; this one gets a generation that
    is above that one's.

    Only called when no COMMIT can be carried out any more, so a journal that can't be written (the
    dump may have filled the disk) does not keep the copy frozen.
    """
    with contextlib.suppress(OSError):
        entry = journal.write(paths, entry, Source.ABORTED)
    _end_criu(entry)
    with contextlib.suppress(ContainerUnknown):
        record = records.find(paths, entry.container)
        own = paths.container(record.identifier)
        process = load_process(own)
        held = record.held == entry.move
        if held:
            record = msgspec.structs.replace(record, held="")
        if fenced:
            record = msgspec.structs.replace(record, generation=entry.generation + 2)
        alive = process is not None and process.alive
        if alive and entry.mode in LAZY:
            group = ControlGroup.of(record.identifier)
            give_back(group, record.resources.cpus)
            if not held:  # a round of files freezes it for a moment
                group.thaw()
        if held and alive:
            freezing.thaw(paths, record)
        elif held and entry.mode == "cold" and entry.was_running:
            _start_again(paths, entry)
        _remove_outgoing(paths, entry)  # the record needs room
        if held:
            records.save(paths, record)
    _forget(paths, entry)


def _start_again(paths: Paths, entry: Entry) -> None:
    """A container that was stopped for a cold move."""
    from migrate.runtime.networks import driver_of
    from migrate.runtime.status import process_of_container
    from migrate.runtime.waiting import release_init

    record = records.find(paths, entry.container)
    own = paths.container(record.identifier)
    unmake(paths, record)
    prepare_and_launch(paths, record, load_spec(paths, record))
    driver_of(record.network.driver).release(own, record.network)
    process = process_of_container(paths, record)
    release_init(str(own.fifo))
    records.save_process(own, msgspec.structs.replace(process, started=True))


def destroy_source(paths: Paths, entry: Entry) -> None:
    """End the source's frozen copy and all that it has here, but the journal; safe to repeat.

    The journal goes when the target has been told (`conclude`): it keeps its own until then.
    """
    with contextlib.suppress(ContainerUnknown):
        record = records.find(paths, entry.container)
        if record.generation <= entry.generation:
            own = paths.container(record.identifier)
            dismiss_monitor(paths, record)
            ControlGroup.of(record.identifier).kill()
            unmake(paths, record)
            forget_network(paths, record)
            remove_volumes(paths, record)
            remove_storage(own)
            names.moved_away(paths, record)
    _remove_outgoing(paths, entry)


def conclude(paths: Paths, entry: Entry, address: str = "") -> None:
    """Tell the target that the source has finished, then drop the journal here.

    Where the target can't be told, the journal stays, and the next `recover` tries again.
    """
    if tell_target(entry, address):
        journal.remove(paths, entry)


def _forget(paths: Paths, entry: Entry) -> None:
    _remove_outgoing(paths, entry)
    journal.remove(paths, entry)


def _remove_outgoing(paths: Paths, entry: Entry) -> None:
    root = journal.outgoing(paths, entry.move)
    memoryplace.give_up(root)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root)


def _end_criu(entry: Entry) -> None:
    """Wait for a CRIU that was left at work: it freezes the container again when it has done."""
    if entry.criu_pid and is_running(entry.criu_pid, entry.criu_start_time):
        wait_until_gone(entry.criu_pid, CRIU_LIMIT)


def recover(
    paths: Paths,
    entry: Entry,
    *,
    address: str = "",
    report: Report = lambda _: None,
    force: Step = Step.ASK,
    patience: float | None = None,
) -> str:
    """Settle one entry of this host's journal, whichever side; the state it has come to.

    `patience`: seconds for which a target that does not answer is asked again, if not once, and
    without a page sent to one that lacks some.
    """
    if entry.role == "target":
        state = receiving.settle(paths, entry.move)
        if state is Target.ABORTED:
            receiving.forget(paths, entry.move)
        return str(state)
    own = paths.container(entry.container)
    network = _network_of(paths, entry)
    with records.locked(own, "recover"):
        current = journal.read(paths, entry.move, "source")
        if current is None:
            return "settled"
        outcome = settle_source(
            paths, current, seconds=patience or 0.0, address=address, report=report, force=force,
            patience=patience,
        )  # fmt: skip
    if outcome is Source.COMMITTED:
        conclude(paths, entry, address)
    elif outcome is Source.ABORTED:
        tell_target(entry, address)
    if network:
        with contextlib.suppress(MigrateError, OSError):
            telling.sync(paths, network)
    return str(outcome)


def _network_of(paths: Paths, entry: Entry) -> str:
    """The network of several hosts that the container belongs to, if it does."""
    with contextlib.suppress(ContainerUnknown):
        network = records.find(paths, entry.container).network
        return network.name if spanning(network.driver) else ""
    return ""


def tell_target(entry: Entry, address: str = "") -> bool:
    """Let the target drop its journal; whether it could be told."""
    with contextlib.suppress(MigrateError), far_side(entry, address) as call:
        call("move.settle", move=entry.move, timeout=60)
        call("move.forget", move=entry.move, timeout=30)
        return True
    return False
