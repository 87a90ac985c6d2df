"""The source's part of a move while the container runs: a place at the target, layers, memory."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import msgspec

from migrate.checkpoint import oldlogs
from migrate.checkpoint.netns.reading import open_reader
from migrate.checkpoint.state import State
from migrate.criu.skeleton import filter as dump_filter
from migrate.criu.skeleton.filter import Skeleton
from migrate.images.store import Store
from migrate.move import journal, memoryplace
from migrate.move.faultpoint import reached
from migrate.move.filerounds import FileRounds
from migrate.move.journal import Entry
from migrate.move.loadahead import AT_SOURCE, load_ahead
from migrate.move.modes import LAZY, RISK, lacking_for_late
from migrate.move.outgoing import CALL_LIMIT, Outgoing
from migrate.move.plan import Plan
from migrate.move.preflight.connections import NEW
from migrate.move.progress import Event
from migrate.move.receiving import layer_place
from migrate.move.rounds import Rounds
from migrate.move.serving import Serving
from migrate.move.transaction import Source
from migrate.move.treesahead import Ahead, TreesAhead
from migrate.move.unaccepted import Doorkeeper
from migrate.move.vouching import Witness
from migrate.runtime.networks import takes_addresses
from migrate.transfer.bulk import BulkSender

CONNECTIONS = 2
LAYER_LIMIT = 3600.0  # seconds, to unpack one at the target
SKELETON = "skeleton"  # the directory of what CRIU is told to leave out, beside what is sent


def enter_journal(move: Outgoing, made: Plan, *, was_running: bool) -> None:
    """Durably begin."""
    assert move.there
    entry = Entry(
        move=journal.new_move(), role="source", state="", container=move.record.identifier,
        name=move.record.name, generation=move.record.generation, mode=made.mode,
        peer=str(move.address), peer_id=move.there.host_id,
        remote_command=move.wish.remote_command, was_running=was_running,
    )  # fmt: skip
    move.entry = journal.write(move.paths, entry, Source.PREPARING)


def prepare(move: Outgoing, made: Plan, state: State) -> None:
    """Everything that can be done before the freeze; the journal knows the move."""
    entry = move.entry
    assert entry
    loaded = load_ahead(AT_SOURCE if made.mode != "cold" else ())
    if made.mode != "cold" and move.process:
        move.network = open_reader(move.record, move.process.pid, places=move.wish.address != NEW)
    if move.network and move.process and takes_addresses(move.record.network):
        move.doorkeeper = Doorkeeper(Path(f"/proc/{move.process.pid}/ns/net"))
    if move.network:
        state = msgspec.structs.replace(state, netns=move.network.read_all(move.wish.skip))
    move.out = journal.outgoing(move.paths, entry.move)
    (move.out / "criu").mkdir(mode=0o700, parents=True)
    if dump_filter.is_built():
        move.skeleton = Skeleton(memoryplace.make(move.out / SKELETON))
    move.agent.call(
        "move.prepare", move=entry.move, generation=entry.generation, mode=made.mode,
        was_running=entry.was_running, sender=journal.host_id(move.paths), state=state.encode(),
        timeout=CALL_LIMIT,
    )  # fmt: skip
    move.bulk = _open_bulk(move)
    _send_layers(move, made)
    placed = move.agent.call("move.place", timeout=CALL_LIMIT)
    if move.wish.address == NEW and isinstance(placed, dict):
        where = " ".join(str(text) for text in placed.values() if text)
        move.report(Event("note", f"its address there is {where[:200]}", placed))
    _send_old_logs(move)
    reached(move.paths, "prepared")
    move.stand_in = move.driver.stand_in(move.own, move.record.network)
    loaded()
    if made.mode in LAZY:
        _send_memory(move, made)


def _open_bulk(move: Outgoing) -> BulkSender:
    assert move.entry
    return BulkSender.open(
        move.address, move.entry.move, connections=CONNECTIONS,
        rate_limit=move.wish.rate_limit,
        deltas=bool(move.there and move.there.xor_pages),
        packs=bool(move.there and move.there.packs), command=move.wish.remote_command or None,
    )  # fmt: skip


def _renew_bulk(move: Outgoing) -> BulkSender:
    """Data connections in place of those that have failed; raises what opening them raises."""
    assert move.bulk
    move.bulk.abort()
    move.sent_before += move.bulk.wire_bytes
    move.bulk = _open_bulk(move)
    if move.files:
        move.files.bulk = move.bulk
    return move.bulk


def _send_layers(move: Outgoing, made: Plan) -> None:
    assert move.bulk
    store = Store(move.paths.images)
    sizes = [store.layer_blob_path(d).stat().st_size for d in made.missing_layers]
    counter = move.counter("layers", sum(sizes))
    for diff_id in made.missing_layers:
        with store.open_layer_blob(diff_id) as blob:
            move.bulk.send_file_from(blob.fileno(), layer_place(Path(), diff_id), counter)
        move.bulk.flush()
        move.agent.call("move.add_layer", diff_id=diff_id, timeout=LAYER_LIMIT)


def _send_old_logs(move: Outgoing) -> None:
    """Full log files change no more; those that are full later travel in the pause."""
    assert move.bulk
    there = oldlogs.found(move.own.log)
    for key, path in there.values():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            move.bulk.send_file_from(file.fileno(), f"{oldlogs.DIRECTORY}/{key}")
            move.logs_ahead.add(key)
    if there:
        move.bulk.flush()


def _send_memory(move: Outgoing, made: Plan) -> None:
    """The rounds: of files first, then of memory, with large files between them."""
    assert move.bulk
    assert move.process
    if move.there and move.there.staged_files:
        _send_files(move)
    move.phases.enter("memory")
    assert move.skeleton
    move.rounds = Rounds(
        move.record.identifier,
        move.process,
        move.bulk,
        move.out,
        move.skeleton,
        move.report,
        made.tracker,
        functools.partial(_renew_bulk, move),
        eager=bool(move.there and move.there.eager_pages),
    )
    if move.wish.auto_converge:
        move.rounds.slow_down_if_need_be(move.record.resources.cpus)
    if made.mode == "post-copy":
        move.rounds.skip()
    else:
        count = move.counter("memory", made.memory_bytes)
        move.rounds.run(move.wish.max_downtime, move.wish.max_rounds, count, move.files)
        move.rounds.late = made.mode == "hybrid" or _better_late(move)
    if move.rounds.late:
        _expect_requests(move)
    if move.there and move.there.images_in_memory:
        _images_into_memory(move)
    reached(move.paths, "memory-sent")


def _send_files(move: Outgoing) -> None:
    assert move.bulk
    witness = Witness(move.paths, move.record)
    move.files = FileRounds(witness, move.bulk, move.phases)
    small = TreesAhead(witness)
    if move.there and move.there.trees_ahead and small.send(move.bulk, move.report):
        move.agent.call("move.unpack_ahead", timeout=LAYER_LIMIT)
    move.ahead = Ahead(witness, move.files, small)


def _images_into_memory(move: Outgoing) -> None:
    """On both hosts, unless much memory is left to CRIU: both would need that much once more."""
    assert move.rounds
    if move.rounds.left_to_criu() <= memoryplace.SMALL_IMAGES:
        move.agent.call("move.images_in_memory", timeout=CALL_LIMIT)
        memoryplace.make(move.out / "criu", memoryplace.IMAGES_LIMIT)


def _better_late(move: Outgoing) -> bool:
    """Whether the mode `auto` lets the rest follow: it would not fit the pause."""
    assert move.rounds
    assert move.here
    assert move.there
    if move.wish.mode != "auto" or not move.rounds.misses(move.wish.max_downtime):
        return False
    if not move.rounds.pages_miss(move.wish.max_downtime):
        move.report(Event("note", "the pause will be longer: too much is written to large files"))
        return False
    if lacking := lacking_for_late(move.here, move.there):
        move.report(Event("note", f"the pause will be longer: {lacking}"))
        return False
    move.report(Event("note", f"the last pages follow after the thaw (hybrid): {RISK}"))
    return True


def _expect_requests(move: Outgoing) -> None:
    """Pages can be asked for as soon as the target begins to restore."""
    assert move.entry
    mode = "hybrid" if move.rounds and move.rounds.done else "post-copy"
    move.entry = msgspec.structs.replace(move.entry, mode=mode)
    move.serving = Serving(move.paths, move.entry, move.report, move.connection.close)
    move.serving.open_link(move.address)
