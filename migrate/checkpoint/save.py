"""`checkpoint`: a running container saved to a file or a directory."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from migrate.checkpoint import archive, freezing, manifest, preflight, sealing
from migrate.checkpoint import dump as dumping
from migrate.checkpoint.errors import OutputExists
from migrate.checkpoint.files import portable
from migrate.checkpoint.netns.reading import open_reader
from migrate.checkpoint.staging import staging
from migrate.checkpoint.state import describe
from migrate.criu import client
from migrate.criu.skeleton.filter import preloading
from migrate.errors import UsageError
from migrate.images.errors import disk_full_told
from migrate.images.rootdir import remove_tree
from migrate.kernel.files import fsync_directory
from migrate.kernel.signals import Signals
from migrate.runtime import records
from migrate.runtime.filling import await_filled
from migrate.runtime.lifecycle.create import load_spec, unmake
from migrate.runtime.lifecycle.delete import dismiss_monitor
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import process_of_container, require

SUFFIX = ".checkpoint.tar.zst"


@dataclass(frozen=True)
class Saved:
    """What came of it; times in seconds, size in bytes."""

    name: str
    container: str
    path: str
    size: int
    freeze_seconds: float
    total_seconds: float
    running: bool


@dataclass
class Output:
    """Where the checkpoint goes: written under a temporary name, renamed when it is whole."""

    path: Path
    directory: bool
    temporary: Path = field(init=False)

    def __post_init__(self) -> None:
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")

    @classmethod
    def of(cls, text: str | None, name: str) -> Output:
        """The user's wish settled; raises OutputExists, UsageError."""
        path = Path(os.path.abspath(text or f"{name}{SUFFIX}"))  # noqa: PTH100 -- "" and links kept
        if not path.parent.is_dir():
            raise UsageError(
                f"there is no directory {path.parent}",
                cause="the checkpoint would be written there",
                mend="make it first, or choose another place with -o",
            )
        if path.is_dir() and not path.is_symlink():
            if any(path.iterdir()):
                raise OutputExists(f"{path} exists already", cause="it is not empty")
            return cls(path, directory=True)
        if os.path.lexists(path):
            raise OutputExists(f"{path} exists already")
        return cls(path, directory=bool(text and text.endswith("/")))

    def publish(self) -> int:
        """Give it its name, durably; its size in bytes. What appeared meanwhile is not replaced."""
        size = sum(f.stat().st_size for f in self.temporary.rglob("*") if f.is_file())
        if not self.directory:
            size = self.temporary.stat().st_size
            if os.path.lexists(self.path):
                raise OutputExists(f"{self.path} exists already", cause="it was made meanwhile")
        self.temporary.rename(self.path)
        fsync_directory(self.path.parent)
        return size

    def discard(self) -> None:
        """Remove what was not published."""
        if self.temporary.is_dir():
            remove_tree(self.temporary)
        else:
            self.temporary.unlink(missing_ok=True)


class Checkpoint:
    """One checkpoint of one container."""

    def __init__(
        self, paths: Paths, record: Record, output: Output, *, leave_running: bool,
        count: archive.Count, skip: Collection[str] = (), recipients: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.paths, self.record, self.output, self.count = paths, record, output, count
        self.skip = skip
        self.recipients = sealing.recipients_of(recipients)
        self.leave_running = leave_running
        self.own = paths.container(record.identifier)
        self.signals = Signals()
        self._frozen_at = self._freeze_seconds = 0.0
        self._frozen = False

    def carry_out(self) -> Saved:
        """Do it; on failure or interruption the container runs and there is no output."""
        begun = time.monotonic()
        with self.signals, records.locked(self.own, "checkpoint"):
            self.record = records.find(self.paths, self.record.identifier)
            require(self.paths, self.record, "running")
            environment = {**os.environ, **preloading()}
            try:
                try:
                    with self._place() as place, client.swrk(environment) as criu:
                        size = self._save(place, criu)
                finally:
                    self.signals.deafen()
            except BaseException:
                if self._frozen:
                    freezing.thaw(self.paths, self.record)
                self.output.discard()
                raise
        return Saved(
            name=self.record.name, container=self.record.identifier, path=str(self.output.path),
            size=size, freeze_seconds=self._freeze_seconds,
            total_seconds=time.monotonic() - begun, running=self.leave_running,
        )  # fmt: skip

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """Where the files are gathered: a directory's own temporary name, or a staging place."""
        if self.output.directory:
            self.output.temporary.mkdir(mode=0o700)
            yield self.output.temporary
        else:
            with staging(self.paths) as place:
                yield place

    def _save(self, place: Path, criu: client.Swrk) -> int:
        process = process_of_container(self.paths, self.record)
        self.count("preparing", 0, 0)
        spec = load_spec(self.paths, self.record)
        preflight.refuse(self.record, spec, process, self.skip)
        state = describe(self.paths, portable(self.paths, self.record), spec, process)
        (place / "criu").mkdir(mode=0o700)
        archive.load_libraries()
        await_filled(self.own)
        reader = open_reader(self.record, process.pid)
        taken_at = time.time()
        self._freeze()
        self.count("dumping", 0, 0)
        # An interruption waits for CRIU: a dump cut off leaves its parasites behind.
        with disk_full_told(place), self.signals.held(), reader or contextlib.nullcontext():
            names = dumping.dump_with_files(
                self.paths, criu, state, process, place, skip=self.skip, network=reader
            )
        if self.leave_running:
            self._thaw()
        members = archive.measure(place, names)
        self._write(place, manifest.make(state, members, taken_at))
        with self.signals.held():
            size = self.output.publish()
            self.signals.deafen()
            if not self.leave_running:
                self._end()
        return size

    def _freeze(self) -> None:
        with self.signals.held():
            self._frozen_at = time.monotonic()
            self._frozen = True  # first: what is half frozen is thawed, too
            freezing.freeze(self.paths, self.record)

    def _thaw(self) -> None:
        with self.signals.held():
            freezing.thaw(self.paths, self.record)
            self._frozen = False
            self._freeze_seconds = time.monotonic() - self._frozen_at

    def _write(self, place: Path, made: manifest.Manifest) -> None:
        if self.output.directory:
            archive.seal_directory(place, made)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with (
            disk_full_told(self.output.path),
            os.fdopen(os.open(self.output.temporary, flags, 0o600), "wb") as file,
        ):
            if self.recipients:
                self._seal(place, made, file)
            else:
                archive.write_archive(place, made, file, self.count)
            file.flush()
            os.fsync(file.fileno())

    def _seal(self, place: Path, made: manifest.Manifest, file: BinaryIO) -> None:
        """The archive is written beside the images, which are removed with it."""
        plain = place / "plain"
        with plain.open("xb") as out:
            plain.chmod(0o600)
            archive.write_archive(place, made, out, self.count)
        total, done = plain.stat().st_size, 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            self.count("encrypting", done, total)

        sealing.seal(plain, file, self.recipients, count)

    def _end(self) -> None:
        """The checkpoint is whole and durable: end the container, keep its record."""
        self._frozen = False
        dismiss_monitor(self.paths, self.record)
        self.own.exit.unlink(missing_ok=True)
        unmake(self.paths, self.record)
        self._freeze_seconds = time.monotonic() - self._frozen_at


def save(
    paths: Paths, record: Record, output: str | None = None, *, leave_running: bool = False,
    count: archive.Count | None = None, skip: Collection[str] = (), recipients: Sequence[str] = (),
) -> Saved:  # fmt: skip
    """Checkpoint a running container; the checks named in `skip` do not keep it from that.

    `output` is a file, or a directory (a name that ends in '/', or an empty directory); None is
    ./NAME.checkpoint.tar.zst. With `recipients` the file is encrypted to these keys (sealing.py).
    Raises WrongState, OutputExists, DiskFull, NotDumpable, CriuFailed, CriuDied, UsageError,
    RecipientInvalid; then the container runs as before and there is no output.
    """
    made = Output.of(output, record.name)
    if recipients and made.directory:
        raise UsageError("a directory can't be encrypted", mend="name a file with -o")
    checkpoint = Checkpoint(
        paths,
        record,
        made,
        leave_running=leave_running,
        count=count or archive.no_count,
        skip=skip,
        recipients=recipients,
    )
    return checkpoint.carry_out()
