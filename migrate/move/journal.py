"""The journal of moves on one host: one small file a move, durable before the step it allows."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path

import msgspec

from migrate.kernel.files import fsync_directory, write_atomically
from migrate.move import slots
from migrate.move.errors import JournalBad
from migrate.move.transaction import Source, Target, may_follow
from migrate.runtime.paths import Paths

SUFFIX = ".journal"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One move as one side knows it."""

    move: str  # 32 hexadecimal digits
    role: str  # source or target
    state: str
    container: str  # identifier
    name: str
    generation: int  # at the source; the target's copy has one more
    mode: str = "stop-copy"
    peer: str = ""  # user@host:port of the target; for the target, who sends
    peer_id: str = ""  # the other host's identity
    remote_command: str = ""
    was_running: bool = True
    criu_pid: int = 0  # a CRIU that works on the container, with its start time
    criu_start_time: int = 0
    changed: float = 0.0  # seconds since the epoch

    @property
    def source_state(self) -> Source:
        """The state, of a source's entry."""
        return Source(self.state)

    @property
    def target_state(self) -> Target:
        """The state, of a target's entry."""
        return Target(self.state)


def new_move() -> str:
    """A random id."""
    return secrets.token_hex(16)


def host_id(paths: Paths) -> str:
    """This host's identity, made at its first use; it goes with the state directory."""
    path = paths.state / "host-id"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    paths.make()
    write_atomically(path, secrets.token_hex(16).encode())
    return path.read_text().strip()


def known_host_id(paths: Paths) -> str:
    """This host's identity, "" where it has none yet, or where we may not read it."""
    with contextlib.suppress(OSError):
        return (paths.state / "host-id").read_text().strip()
    return ""


def _path(paths: Paths, move: str, role: str) -> Path:
    return paths.moves / f"{move}.{role}{SUFFIX}"


def write(paths: Paths, entry: Entry, state: Source | Target) -> Entry:
    """Make `entry` durable in `state`; raises JournalBad for a state that may not follow."""
    current = read(paths, entry.move, entry.role)
    kind = Source if entry.role == "source" else Target
    before = kind(current.state) if current else None
    if before != state and not may_follow(before, state):
        raise JournalBad(
            f"move {entry.move}: '{state}' can't follow '{before}'",
            cause="another command has settled this move meanwhile",
        )
    entry = msgspec.structs.replace(entry, state=str(state), changed=time.time())
    path, data = _path(paths, entry.move, entry.role), msgspec.json.encode(entry)
    try:
        if current is None:
            slots.create(path, data)
        else:
            # A host that went down forgets `restored`, and does what it would in `preparing`: wipe.
            slots.rewrite(path, data, durable=state is not Target.RESTORED)
    except ValueError as error:
        raise JournalBad(f"move {entry.move} can't be written down", cause=str(error)) from error
    return entry


def read(paths: Paths, move: str, role: str) -> Entry | None:
    """The entry of a move; None when there is none. Raises JournalBad."""
    try:
        return _load(_path(paths, move, role))
    except FileNotFoundError:
        return None


def _load(path: Path) -> Entry:
    try:
        entry = msgspec.json.decode(slots.read(path), type=Entry)
        (Source if entry.role == "source" else Target)(entry.state)
    except (msgspec.DecodeError, ValueError) as error:
        raise JournalBad(f"the journal {path} can't be read", cause=str(error)) from error
    return entry


def read_all(paths: Paths) -> list[Entry]:
    """All entries of this host, oldest first."""
    entries = [_load(path) for path in paths.moves.glob(f"*{SUFFIX}")]
    return sorted(entries, key=lambda entry: entry.changed)


def remove(paths: Paths, entry: Entry) -> None:
    """Forget a settled move."""
    _path(paths, entry.move, entry.role).unlink(missing_ok=True)
    fsync_directory(paths.moves)


def incoming(paths: Paths) -> Path:
    """Where data connections write: a directory a move."""
    return paths.moves / "incoming"


def outgoing(paths: Paths, move: str) -> Path:
    """Where the source lays out what it sends."""
    return paths.moves / "outgoing" / move
