"""The embedded store: one JSON file of this machine, for all operators who work on it.

A change is made under a file lock and replaces the file whole. What a process wrote with a lease
counts while that very process lives (pid, start time, boot): a crash ends its claims. A process of
another pid namespace can't be seen from here, nor one of another machine that shares the directory:
theirs count until this machine's next boot, or until they are given back.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import math
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from migrate.evacuate.store.errors import StoreUnreachable, StoreUnreadable
from migrate.evacuate.store.keyvalues import CALL_SECONDS, Snapshot, covers
from migrate.kernel.files import write_atomically
from migrate.kernel.processes import boot_id, is_running, start_time

FILE_LIMIT = 16 << 20  # bytes: some 50,000 values
_POLL = 0.01  # seconds between looks at a lock


class _Holder(msgspec.Struct, frozen=True):
    """The process with which an entry ends."""

    lease: str
    pid: int
    start_time: int
    boot: str
    pid_namespace: int  # inode of /proc/PID/ns/pid
    machine: str  # its machine-id(5), "" without one


class _Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    value: msgspec.Raw
    revision: int
    holder: _Holder | None = None


class _Document(msgspec.Struct, frozen=True):
    incarnation: str
    revision: int
    entries: dict[str, _Entry]


class FileKeyValues:
    """Key-values in `directory`/store.json; the directory is made (0700) at the first writing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "store.json"
        self._lock = directory / "lock"
        self.place = f"the fleet's store {self._path}"

    def read(self, reads: Collection[str], *, within: float = CALL_SECONDS) -> Snapshot:
        """See `KeyValues`; needs no lock, as the file is replaced whole."""
        document = self._load()
        found = {
            key: bytes(entry.value) for key, entry in document.entries.items()
            if any(covers(read, key) for read in reads)
        }  # fmt: skip
        return Snapshot(tuple(reads), found, document.revision, document.incarnation)

    def commit(
        self, read: Snapshot, writes: Mapping[str, bytes], *, removes: Collection[str] = (),
        lease: str = "",
    ) -> bool:  # fmt: skip
        """See `KeyValues`."""
        with self._locked():
            document = self._load()
            if document.incarnation != read.incarnation and read.incarnation:
                return False
            for key, entry in document.entries.items():
                if entry.revision > read.revision and any(covers(r, key) for r in read.reads):
                    return False
            revision = document.revision + 1
            holder = _this_process(lease) if lease else None
            kept = {key: e for key, e in document.entries.items() if key not in set(removes)}
            new = {key: _Entry(msgspec.Raw(v), revision, holder) for key, v in writes.items()}
            self._save(
                _Document(document.incarnation or secrets.token_hex(8), revision, kept | new)
            )
        return True

    def grant(self, seconds: float) -> tuple[str, float]:
        """A name for what this process writes; it needs no renewal."""
        return secrets.token_hex(8), 0.0

    def renew(self, lease: str, *, within: float = CALL_SECONDS) -> float:
        """For as long as this process lives."""
        return math.inf

    def revoke(self, lease: str) -> None:
        """See `KeyValues`."""
        with self._locked():
            document = self._load()
            kept = {
                key: entry for key, entry in document.entries.items()
                if entry.holder is None or entry.holder.lease != lease
            }  # fmt: skip
            if len(kept) != len(document.entries):
                self._save(_Document(document.incarnation, document.revision + 1, kept))

    def _load(self) -> _Document:
        """The file without what ended with its process; an empty document where there is none."""
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_LIMIT + 1)
            if len(data) > FILE_LIMIT:
                raise msgspec.ValidationError(f"it has more than {FILE_LIMIT >> 20} MiB")
            document = msgspec.json.decode(data, type=_Document)
        except FileNotFoundError:
            return _Document("", 0, {})
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnreadable(
                f"{self.place} is damaged", cause=str(error),
                mend="remove that file, once no evacuation runs on this machine",
            ) from error  # fmt: skip
        except OSError as error:
            raise self._unusable(error) from error
        here = _this_process("")
        alive = {
            key: entry for key, entry in document.entries.items()
            if entry.holder is None or _lives(entry.holder, here)
        }  # fmt: skip
        return _Document(document.incarnation, document.revision, alive)

    def _save(self, document: _Document) -> None:
        data = msgspec.json.format(msgspec.json.encode(document))
        if len(data) > FILE_LIMIT:
            raise StoreUnreachable(
                f"{self.place} is full", cause=f"it may have {FILE_LIMIT >> 20} MiB",
                mend="use etcd for a fleet of that size (--store)",
            )  # fmt: skip
        write_atomically(self._path, data)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; OSErrors within are told as StoreUnreachable."""
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for(descriptor)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unusable(error) from error

    def _wait_for(self, descriptor: int) -> None:
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreUnreachable(
                        f"{self.place} is locked",
                        cause=f"another process has kept it for {CALL_SECONDS:g} s",
                        mend=f"see 'fuser {self._lock}' for who it is",
                    ) from None
                time.sleep(_POLL)

    def _unusable(self, error: OSError) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self.place} can't be used", cause=str(error),
            mend="mend what the cause names: the directory must be writable, and its disk not full",
        )  # fmt: skip


def _this_process(lease: str) -> _Holder:
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    pid = os.getpid()
    return _Holder(lease, pid, start_time(pid), _boot(), namespace, _machine())


@functools.cache
def _boot() -> str:
    return boot_id()


@functools.cache
def _machine() -> str:
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


def _lives(holder: _Holder, here: _Holder) -> bool:
    """Whether it may live: in doubt it does."""
    if holder.boot != here.boot:
        return holder.machine != here.machine
    if holder.pid_namespace != here.pid_namespace:
        return True
    try:
        return is_running(holder.pid, holder.start_time)
    except OSError:
        return True
