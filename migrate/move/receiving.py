"""The target's half of a move: a place prepared, a copy restored frozen, committed or wiped."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

import msgspec

from migrate.checkpoint import digests
from migrate.checkpoint.errors import CheckpointBad
from migrate.checkpoint.files import clear, put_ahead, put_files, volume_names
from migrate.checkpoint.restore import Restorer
from migrate.checkpoint.staged import DIRECTORY as STAGED
from migrate.checkpoint.state import STATE_FILE, STATE_LIMIT, State, decode
from migrate.criu.lazypages.spaces import Run
from migrate.errors import MigrateError
from migrate.images.store import Store
from migrate.kernel import rcu
from migrate.kernel.blocks import sync_file_system
from migrate.kernel.files import write_atomically
from migrate.kernel.reserve import Reserve
from migrate.move import collector, journal, memoryplace, pagestore, policy, telling
from migrate.move.errors import MoveAborted, MoveCommitted, MoveUnknown
from migrate.move.faultpoint import reached
from migrate.move.journal import Entry
from migrate.move.modes import LAZY
from migrate.move.transaction import Step, Target, accepts_commit, target_alone
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import ContainerUnknown
from migrate.runtime.filling import is_filling
from migrate.runtime.lifecycle.create import (
    forget_network,
    make_place,
    prepare_and_launch,
    unmake,
)
from migrate.runtime.lifecycle.delete import dismiss_monitor
from migrate.runtime.networks import driver_of, names, takes_addresses
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process, save_process
from migrate.runtime.storage import driver_for, mount_rootfs, prepare_rootfs, remove_storage
from migrate.runtime.waiting import release_init


class Receiving:
    """One move at its target, as long as the agent's connection lasts.

    Made by `prepare`; `close` (connection ended) aborts what is not committed.
    """

    def __init__(
        self, paths: Paths, entry: Entry, state: State, permission: policy.Permission
    ) -> None:
        """Journal `preparing`, the directory for the data, and whatever needs no data."""
        self.paths, self.permission = paths, permission
        self.entry = journal.write(paths, entry, Target.PREPARING)
        self.state = state
        self.root = journal.incoming(paths) / entry.move
        self.restorer: Restorer | None = None
        self.stand_in: StandIn | None = None
        self.record = state.record
        self._ahead: list[str] = []  # trees that were sent while the container runs
        self._held = contextlib.ExitStack()
        self._reserve = Reserve()
        own = paths.container(entry.container)
        try:
            self._held.enter_context(records.locked(own, f"move {entry.move}", wait=0))
            journal.incoming(paths).mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700)
            self.pages = pagestore.make(self.root) if entry.mode in LAZY else None
        except BaseException:
            self.close()
            raise

    def add_layer(self, diff_id: str) -> None:
        """Take a layer that has arrived into the store; raises LayerDigestMismatch."""
        blob = self.root / "layers" / diff_id.removeprefix("sha256:")
        with blob.open("rb") as file:
            Store(self.paths.images).add_layer(file, diff_id)
        blob.unlink()

    def prepare_place(self) -> None:
        """Everything of the place that needs no file of the pause: cgroup, network, monitor, CRIU.

        In the mode `cold` there is nothing to do yet.
        """
        own = self.paths.container(self.entry.container)
        self.record = msgspec.structs.replace(
            self.state.record, generation=self.entry.generation + 1, held=self.entry.move,
            moved_to="", storage=driver_for(self.paths),
        )  # fmt: skip
        with records.locked(self.paths.container("registration"), "move", wait=30):
            self._take_addresses()
            records.save(self.paths, self.record)
        names.learn(self.paths, self.record.network.name, self.state.names)
        write_atomically(own.spec, msgspec.json.format(msgspec.json.encode(self.state.spec)))
        if self.entry.mode == "cold":
            return
        make_place(self.paths, self.state.record)
        prepare_rootfs(self.paths, self.record)
        own.rootfs.mkdir(mode=0o700, exist_ok=True)
        self.restorer = Restorer(self.paths, self.state, pages=self.pages)
        network = self.state.record.network
        self.stand_in = driver_of(network.driver).stand_in(own, network)
        reached(self.paths, "placed")

    def _take_addresses(self) -> None:
        """Those that it comes with, or new ones where it comes without; raises AddressTaken."""
        own = self.paths.container(self.entry.container)
        network = self.record.network
        driver = driver_of(network.driver)
        if network.address or not takes_addresses(network):
            driver.claim(own, network)
            return
        others = [r for r in records.load_all(self.paths) if r.identifier != own.identifier]
        network = driver.settle(own, network, others)
        self.record = msgspec.structs.replace(self.record, network=network)
        described = msgspec.structs.replace(self.state.record, network=network)
        self.state = msgspec.structs.replace(self.state, record=described)

    def take_over_address(self) -> tuple[str, str]:
        """The source's copy is held: take its packets, to deliver them after COMMIT.

        Returns where to send what comes to the source (`StandIn.take_over`).
        """
        return self.stand_in.take_over() if self.stand_in else ("", "")

    def unpack_ahead(self) -> None:
        """Whole trees have arrived; what changes in them comes with the rest. Raises DiskFull."""
        self._ahead = put_ahead(self.paths, self.record, self.root)

    def take_images_in_memory(self) -> None:
        """CRIU's images will be small: they need not be made on a disk. Raises OSError."""
        memoryplace.make(self.root / "criu", memoryplace.IMAGES_LIMIT)

    def restore(self) -> dict[str, float]:
        """The copy, whole and frozen (or waiting for its start), from what has arrived.

        Returns the seconds of its phases. The journal says `restored` afterwards.
        """
        begun = time.monotonic()
        self._held.enter_context(collector.held())
        state = decode(_read_bounded(self.root / STATE_FILE))
        if state.record.identifier != self.entry.container:
            raise CheckpointBad("the data is of another container")
        self.permission.refuse(self.entry.mode, state)  # it is newer than what was prepared for
        record = self.record
        staged = self.root / STAGED if self.entry.mode in LAZY else None
        put_files(self.paths, record, self.root, staged, movable=True, ahead=self._ahead)
        files_done = time.monotonic()
        reached(self.paths, "unpacked")
        if self.restorer:
            with rcu.hurried(self.paths.run / "rcu-hurried"):
                mount_rootfs(self.paths, record)
                self.restorer.restore(self.root / "criu", state)
        elif self.entry.was_running:
            prepare_and_launch(self.paths, record, state.spec)
        restored = time.monotonic()
        self.entry = journal.write(self.paths, self.entry, Target.RESTORED)
        reached(self.paths, "restored-there")
        return {"files": files_done - begun, "restore": restored - files_done}

    def verify(self) -> tuple[int, list[tuple[int, int]]]:
        """Pages compared, and (pid, address) of those that differ from the source's digests."""
        process = load_process(self.paths.container(self.entry.container))
        assert process
        pids = ControlGroup.of(self.entry.container).pids()
        return digests.differences(digests.by_inner_pid(pids, process.pid), self.root)

    def commit(self, frames: list[bytes]) -> dict[str, float]:
        """Durable first, then let it run; raises MoveAborted when it has been wiped meanwhile.

        `frames` came to the source while it was held there, and are delivered before those that
        came here. Returns the seconds of its phases.
        """
        begun = time.monotonic()
        durable = commit(self.paths, self.entry)
        if self.stand_in:
            own = self.paths.container(self.entry.container)
            driver_of(self.record.network.driver).deliver(own, frames + self.stand_in.frames())
        return {"journal": durable - begun, "thaw": time.monotonic() - durable}

    def close(self) -> None:
        """The connection has ended: abort unless committed, then finish."""
        self._reserve.give_up()
        if self.stand_in:
            self.stand_in.close()
        current = journal.read(self.paths, self.entry.move, "target")
        step = target_alone(current.target_state) if current else Step.NOTHING
        if current and step is Step.ROLL_BACK:
            if self.restorer:
                self.restorer.abandon()
            abort(self.paths, current)
        elif current and step is Step.FORWARD:
            finish(self.paths, current)
            if self.restorer:
                self.restorer.unguard_network()
        self._held.close()


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(STATE_LIMIT + 1)


def commit(paths: Paths, entry: Entry) -> float:
    """Carry out (or confirm) COMMIT for a restored copy; raises MoveAborted.

    Returns the moment from which on it could not be taken back, on the monotonic clock.
    """
    current = journal.read(paths, entry.move, "target")
    if current is None or not accepts_commit(current.target_state):
        raise MoveAborted("the move was aborted here", cause="its copy has been wiped")
    if current.target_state is Target.RESTORED:
        current = journal.write(paths, current, Target.COMMITTED)
        reached(paths, "committed-there")
    durable = time.monotonic()
    if current.target_state is Target.COMMITTED:
        let_run(paths, current)
    return durable


def let_run(paths: Paths, entry: Entry) -> Record:
    """After COMMIT: packets pass, the copy runs; safe to repeat. This ends the pause."""
    record = records.find(paths, entry.container)
    own = paths.container(record.identifier)
    process = load_process(own)
    if process is not None and process.alive:
        driver_of(record.network.driver).release(own, record.network)
        if entry.mode != "cold":
            ControlGroup.of(record.identifier).thaw()
        elif not process.started:
            if own.fifo.exists():  # else it was let go, and that could not be written down
                release_init(str(own.fifo))
            save_process(own, msgspec.structs.replace(process, started=True))
    return record


def finish(paths: Paths, entry: Entry) -> None:
    """`let_run`, and the record is free: what need not be inside the pause. Safe to repeat.

    The files are on the disk before the journal says `done`: the source removes its own then. As
    long as pages are lacking it stays `committed`; they need no disk, so a full one is told after.
    """
    with contextlib.suppress(ContainerUnknown):  # removed meanwhile: it was free to be
        record = let_run(paths, entry)
        reached(paths, "thawed-there")
        try:
            _set_free(paths, record)
        except OSError:
            if not owed(paths, entry):
                raise
    if owed(paths, entry):
        return
    sync_file_system(paths.state)
    journal.write(paths, entry, Target.DONE)
    _remove_incoming(paths, entry)


def _set_free(paths: Paths, record: Record) -> None:
    """No move holds it any more; the others of its network are told. Raises OSError."""
    if record.held:
        record = msgspec.structs.replace(record, held="")
        records.save(paths, record)
    names.refresh(paths, record)
    with contextlib.suppress(MigrateError, OSError):
        telling.arrived(paths, record)


def owed(paths: Paths, entry: Entry) -> dict[int, list[Run]]:
    """By pid, the runs of pages that only the source has; nothing when nobody needs them any more.

    Raises StoreBad, OSError.
    """
    own = paths.container(entry.container)
    process = load_process(own)
    if entry.mode not in LAZY or not is_filling(own) or process is None or not process.alive:
        return {}
    return pagestore.lacking(journal.incoming(paths) / entry.move)


def abort(paths: Paths, entry: Entry) -> None:
    """Durably refuse a later COMMIT, then wipe the copy; raises MoveCommitted."""
    current = journal.read(paths, entry.move, "target")
    if current is None:
        raise MoveUnknown(f"no move {entry.move} is known here")
    if current.target_state in {Target.COMMITTED, Target.DONE}:
        raise MoveCommitted(f"the move of '{entry.name}' is committed")
    # What has arrived goes first: the disk may be full, and the journal needs room.
    _remove_incoming(paths, entry)
    _refuse_commit(paths, current)
    record = _record_of(paths, current)
    own = paths.container(current.container)
    unmake(paths, record)
    forget_network(paths, record)
    dismiss_monitor(paths, record)
    for name in volume_names(record):
        if (paths.volumes / name).is_dir():
            clear(paths.volumes / name)
            (paths.volumes / name).rmdir()
    remove_storage(own)


def _remove_incoming(paths: Paths, entry: Entry) -> None:
    root = journal.incoming(paths) / entry.move
    memoryplace.give_up(root)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root)


def _refuse_commit(paths: Paths, entry: Entry) -> None:
    """Durably `aborted`; where not even that can be written, never heard of, which is the same."""
    try:
        journal.write(paths, entry, Target.ABORTED)
    except OSError:
        journal.remove(paths, entry)


def _record_of(paths: Paths, entry: Entry) -> Record:
    """The copy's record, or one that is enough to unmake what there is."""
    own = paths.container(entry.container)
    with contextlib.suppress(FileNotFoundError):
        return records.decode(own.record.read_bytes())
    driver = "bridge" if own.netns.exists() else "none"
    network = records.Network(driver=driver)
    return Record(entry.container, entry.name, created=time.time(), network=network)


def settle(paths: Paths, move: str) -> Target | None:
    """Settle a move whose connection is gone; its state afterwards, None if it is unknown.

    Raises ContainerBusy while another agent still works on it.
    """
    entry = journal.read(paths, move, "target")
    if entry is None:
        return None
    step = target_alone(entry.target_state)
    own = paths.container(entry.container)
    with records.locked(own, "recover", wait=2):
        if step is Step.ROLL_BACK and entry.target_state is not Target.ABORTED:
            abort(paths, entry)
        elif step is Step.FORWARD:
            finish(paths, entry)
    current = journal.read(paths, move, "target")
    return current.target_state if current else None


def forget(paths: Paths, move: str) -> None:
    """Drop the journal of a settled move: the source has finished, too."""
    entry = journal.read(paths, move, "target")
    if entry and entry.target_state is Target.COMMITTED:
        finish(paths, entry)
        entry = journal.read(paths, move, "target")
    if entry and entry.target_state in {Target.DONE, Target.ABORTED}:
        journal.remove(paths, entry)


def layer_place(root: Path, diff_id: str) -> str:
    """The name under which a layer's blob travels."""
    return os.fspath(Path("layers") / diff_id.removeprefix("sha256:"))
