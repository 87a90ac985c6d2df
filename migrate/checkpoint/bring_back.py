"""`restore`: a checkpoint brought back on this host, under its own name or as a new container."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from migrate.checkpoint import archive, sealing
from migrate.checkpoint.errors import CannotOpen, PlaceUnfit
from migrate.checkpoint.files import put_files, refuse_foreign_volumes, volume_names
from migrate.checkpoint.manifest import Manifest
from migrate.checkpoint.replacement import Replacement
from migrate.checkpoint.restore import Restorer
from migrate.checkpoint.staging import staging
from migrate.checkpoint.state import State
from migrate.criu.errors import CriuMissing, CriuTooOld
from migrate.criu.provide import read_chosen
from migrate.errors import UsageError
from migrate.images.errors import LayerMissing, disk_full_told
from migrate.images.store import Store
from migrate.kernel.files import write_atomically
from migrate.kernel.signals import Signals
from migrate.runtime import records, usernamespaces
from migrate.runtime.cordon import refuse_if_cordoned
from migrate.runtime.errors import ContainerUnknown, GenerationOld, NameTaken
from migrate.runtime.lifecycle.create import forget_network, making_place, unmake
from migrate.runtime.lifecycle.delete import dismiss_monitor
from migrate.runtime.networks import driver_of, names
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import require
from migrate.runtime.storage import bind_source, driver_for, remove_storage

LOG = "restore.log"
PLAIN = "plain"
"""The decrypted archive, in the staging directory and no longer than it is read."""


@dataclass(frozen=True)
class BroughtBack:
    """What came of it; times in seconds, size in bytes of the members."""

    name: str
    container: str
    size: int
    restore_seconds: float
    total_seconds: float
    taken_at: float  # seconds since the epoch: the moment that the container goes on from


class Restore:
    """One restore of one checkpoint."""

    def __init__(
        self, paths: Paths, source: Path, name: str | None, count: archive.Count,
        identity: Path | None = None,
    ) -> None:  # fmt: skip
        self.paths, self.source, self.new_name, self.count = paths, source, name, count
        self.identity = identity
        self.signals = Signals()

    def carry_out(self) -> BroughtBack:
        """Do it; on failure or interruption everything is as before."""
        begun = time.monotonic()
        refuse_if_cordoned(self.paths, "restore a checkpoint")
        if not self.source.exists():
            raise UsageError(f"there is no checkpoint {self.source}", mend="look at the path")
        if self.new_name is not None:
            records.check_name(self.new_name)
        self.paths.make()
        with self.signals, staging(self.paths) as stage:
            unpacked = stage / "checkpoint"
            unpacked.mkdir(mode=0o700)
            manifest, state = archive.unpack(self._opened(stage), unpacked, self.count)
            (stage / PLAIN).unlink(missing_ok=True)
            state = self._renamed(state)
            with records.locked(self.paths.container(state.record.identifier), "restore"):
                seconds = self._restore(stage, unpacked, manifest, state)
        return BroughtBack(
            name=state.record.name, container=state.record.identifier, size=manifest.total,
            restore_seconds=seconds, total_seconds=time.monotonic() - begun,
            taken_at=manifest.time,
        )  # fmt: skip

    def _opened(self, stage: Path) -> Path:
        """The checkpoint to be read: decrypted below `stage` where it is sealed."""
        if not sealing.is_sealed(self.source):
            return self.source
        if self.identity is None:
            raise CannotOpen(f"{self.source} is encrypted")
        total, done = self.source.stat().st_size, 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            self.count("decrypting", done, total)

        with disk_full_told(stage):
            sealing.unseal(self.source, stage / PLAIN, self.identity, count)
        return stage / PLAIN

    def _renamed(self, state: State) -> State:
        """The state as it is restored: free of a move's marks, under the new name if there is one.

        With a new name it is another container, with an identifier of its own.
        """
        record = msgspec.structs.replace(
            state.record, held="", moved_to="", storage=driver_for(self.paths)
        )
        if self.new_name is not None:
            record = msgspec.structs.replace(
                record, name=self.new_name, identifier=records.new_identifier()
            )
        if self.new_name is not None and record.user_namespace.exclusive:
            # Whatever the ids are on this host: its files and images have the container's own.
            size = sum(entry.size for entry in record.user_namespace.uids)
            record = usernamespaces.settle(record, records.load_all(self.paths), size)
        spec = usernamespaces.in_spec(state.spec, record.user_namespace)
        return msgspec.structs.replace(state, record=record, spec=spec)

    def _restore(self, stage: Path, unpacked: Path, manifest: Manifest, state: State) -> float:
        """The restore's own seconds, from the first change of this host to running processes."""
        record, paths = state.record, self.paths
        undo_cut_off(paths, record.identifier)
        existing = self._existing(record)
        if existing and existing.generation > record.generation:
            # A checkpoint from before a move there and back: it is the host's container still.
            record = msgspec.structs.replace(record, generation=existing.generation)
            state = msgspec.structs.replace(state, record=record)
        self._check(manifest, record, existing)
        self.count("unpacking files", 0, 0)
        staged = Paths(stage / "state", stage / "run")
        self._stage(staged, state, unpacked)
        replacement = Replacement(paths, staged, record.identifier, volume_names(record))
        begun = time.monotonic()
        self.count("restoring", 0, 0)
        try:
            try:
                if existing:
                    unmake(paths, existing)
                    dismiss_monitor(paths, existing)
                with self.signals.held():
                    replacement.swap()
                self._lease(record)
                with self.signals.held():
                    self._bring_to_life(unpacked / "criu", state, replacement)
                    self.signals.deafen()
            finally:
                self.signals.deafen()
        except BaseException:
            dismiss_monitor(paths, record)
            replacement.put_back()
            if existing is None:
                forget_network(paths, record)
                remove_storage(paths.container(record.identifier))
            raise
        replacement.clear()
        names.refresh(paths, record)
        return time.monotonic() - begun

    def _lease(self, record: Record) -> None:
        """The container's addresses are its own here; raises AddressTaken."""
        own = self.paths.container(record.identifier)
        with records.locked(self.paths.container("registration"), "restore", wait=30):
            driver_of(record.network.driver).claim(own, record.network)

    def _stage(self, staged: Paths, state: State, unpacked: Path) -> None:
        """Everything that will be renamed into its place, on the same file system."""
        staged.make()
        own = staged.container(state.record.identifier)
        own.state.mkdir(mode=0o700)
        put_files(staged, state.record, unpacked)
        write_atomically(own.spec, msgspec.json.format(msgspec.json.encode(state.spec)))
        records.save(staged, state.record)

    def _bring_to_life(self, images: Path, state: State, replacement: Replacement) -> None:
        with making_place(self.paths, state.record):
            restorer = Restorer(self.paths, state)
            try:
                restorer.restore(images, state, keep_log=self.paths.state / LOG)
                replacement.settle()
                restorer.let_run()
            except BaseException:
                restorer.abandon()
                raise

    def _existing(self, record: Record) -> Record | None:
        """This host's record of the same container, if it may be replaced.

        Raises GenerationOld, WrongState, NameTaken, MoveUnsettled.
        """
        for other in records.load_all(self.paths):
            same = other.identifier == record.identifier
            if not same and record.name in {other.name, other.identifier}:
                raise NameTaken(
                    f"the name '{record.name}' is taken",
                    cause=f"container {other.identifier} has it",
                    mend="restore it under another name with --name, or remove that container",
                )
        try:
            existing = records.find(self.paths, record.identifier)
        except ContainerUnknown:
            return None
        if existing.moved_to:
            raise GenerationOld(
                f"'{existing.name}' has moved to {existing.moved_to}",
                cause="restoring it here would make a second copy of it",
            )
        require(self.paths, existing, "stopped")
        return existing

    def _check(self, manifest: Manifest, record: Record, existing: Record | None) -> None:
        """Raise what stands against the restore on this host; changes nothing."""
        _check_machine(manifest)
        store = Store(self.paths.images)
        missing = [diff_id for diff_id in record.layers if not store.has_layer(diff_id)]
        if missing:
            image = f" (of the image '{record.image}')" if record.image else ""
            raise LayerMissing(
                f"this host lacks {len(missing)} layer(s) of '{record.name}'{image}",
                cause=f"missing: {' '.join(missing)}",
                mend="import the same image here with 'migrate image import', then restore",
            )
        others = [
            r for r in records.load_all(self.paths)
            if r.identifier != record.identifier and not r.moved_to
        ]  # fmt: skip
        for bind in record.binds:
            if not bind.volume:
                bind_source(self.paths, bind)
        own = self.paths.container(record.identifier)
        usernamespaces.refuse_taken(record, others)
        usernamespaces.require_idmapped_mounts(self.paths, record)
        driver_of(record.network.driver).check(own, record.network, others)
        volumes = volume_names(existing) if existing else []
        refuse_foreign_volumes(self.paths, record, others, volumes)


def _check_machine(manifest: Manifest) -> None:
    import platform

    if manifest.machine != platform.machine():
        raise PlaceUnfit(
            f"the checkpoint was made on {manifest.machine}, this host is {platform.machine()}",
            cause="memory holds machine code of one architecture",
            mend="restore it on a host of the same architecture",
        )
    chosen = read_chosen()
    if chosen is None:
        raise CriuMissing("no CRIU has been provided for this installation")
    if _numbers(chosen.version) < _numbers(manifest.criu):
        raise CriuTooOld(
            f"this host's CRIU is too old: {chosen.version}",
            cause=f"the checkpoint was written by CRIU {manifest.criu}",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def undo_cut_off(paths: Paths, identifier: str) -> bool:
    """Undo a restore that died before its container ran; whether there was one.

    The caller holds the container's lock. What a container had that did not exist before stays,
    without a record, for the next restore to replace.
    """
    if not paths.container(identifier).before_restore.exists():
        return False
    try:
        record = records.find(paths, identifier)
    except ContainerUnknown:
        volumes = []
    else:
        dismiss_monitor(paths, record)
        unmake(paths, record)
        volumes = volume_names(record)
    Replacement(paths, paths, identifier, volumes).put_back()
    return True


def bring_back(
    paths: Paths, source: Path, name: str | None = None, *, count: archive.Count | None = None,
    identity: Path | None = None,
) -> BroughtBack:  # fmt: skip
    """Restore the checkpoint `source` (file or directory), under a new name if one is given.

    `identity`: the file with the key for a sealed one (sealing.py). Raises CannotOpen,
    HostCordoned, IdsUnfit, CheckpointBad, CheckpointTooNew, WrongState, NameTaken, AddressTaken,
    GenerationOld, PlaceUnfit, LayerMissing, DiskFull, CriuFailed and what making a container
    raises; then this host is as before.
    """
    return Restore(paths, source, name, count or archive.no_count, identity).carry_out()
