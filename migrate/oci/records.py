"""What is known of a container of `migrate-oci`: a directory beneath --root, and its state.

`state.json` is there before anything else is made, so that `delete --force` clears what a killed
`create` has left. No msgspec and no dataclasses here: `state` has 60 ms, the interpreter included.
"""

from __future__ import annotations

import os

from migrate.kernel.bare import contextlib, json
from migrate.oci.errors import BadUsage, NoSuchContainer, NotAllowedNow

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_LONGEST = 1024  # both as runc has them
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
LIMIT = 8 << 20


class Container:
    """One container: `state` is the JSON object that is stored, changed by `save` only."""

    def __init__(self, root: str, identifier: str, state: dict[str, Any]) -> None:
        self.directory = f"{root}/{identifier}"
        self.identifier = identifier
        self.state = state

    @property
    def fifo(self) -> str:
        """Init waits on it; it is there as long as the container is only created."""
        return f"{self.directory}/exec.fifo"

    @property
    def config(self) -> dict[str, Any]:
        """The specification as it was at `create` (runtime.md: later changes have no effect)."""
        with open(f"{self.directory}/config.json", "rb") as file:
            found: dict[str, Any] = json.loads(file.read(LIMIT))
        return found

    @property
    def pid(self) -> int:
        """Init's pid while it lives, else 0."""
        return int(self.state["pid"]) if self.alive else 0

    @property
    def alive(self) -> bool:
        """Whether init lives: pid, start time and boot are all its own."""
        state = self.state
        if not state["pid"] or state["boot"] != boot():
            return False
        found = stat_of(state["pid"])
        return found is not None and found == (state["startTime"], True)

    @property
    def status(self) -> str:
        """The word of runtime.md ("State"), and `paused`."""
        if not self.state.get("ready"):
            return CREATING if is_alive(self.state["maker"]) else STOPPED
        if not self.alive:
            return STOPPED
        if self.frozen:
            return PAUSED
        return CREATED if os.path.lexists(self.fifo) else RUNNING

    @property
    def frozen(self) -> bool:
        """Whether its freezer is frozen, or about to be."""
        group = self.state["cgroup"]
        name = "freezer.state" if group["freezerVersion"] == 1 else "cgroup.freeze"
        try:
            with open(f"{group['freezer']}/{name}") as file:
                return file.read().strip() not in {"THAWED", "0", ""}
        except OSError:
            return False

    def save(self, **changes: Any) -> None:
        """Store the state with `changes`, all or nothing."""
        self.state = self.state | changes
        write(f"{self.directory}/state.json", self.state)

    def require(self, what: str, *words: str) -> str:
        """The status, if it is one of `words`; raises NotAllowedNow."""
        status = self.status
        if status not in words:
            raise NotAllowedNow(
                f"cannot {what} a container that is {status}", cause=f"{self.identifier}"
            )
        return status

    def describe(self) -> dict[str, Any]:
        """The state of runtime.md, with what runc adds."""
        state = self.state
        return {
            "ociVersion": state["ociVersion"], "id": self.identifier, "pid": self.pid,
            "status": self.status, "bundle": state["bundle"], "rootfs": state["rootfs"],
            "created": state["created"], "annotations": state["annotations"],
            "owner": state["owner"],
        }  # fmt: skip


def check_identifier(identifier: str) -> None:
    """Raise BadUsage unless it can be an id."""
    fits = 1 <= len(identifier) <= _LONGEST and _LETTERS.issuperset(identifier)
    if not fits or identifier in {".", ".."}:
        raise BadUsage(f"invalid container id format: {identifier!r}")


def load(root: str, identifier: str) -> Container:
    """The container; raises NoSuchContainer (engines look for "does not exist")."""
    check_identifier(identifier)
    try:
        with open(f"{root}/{identifier}/state.json", "rb") as file:
            return Container(root, identifier, json.loads(file.read(LIMIT)))
    except (OSError, ValueError):
        raise NoSuchContainer(
            "container does not exist", cause=f"no container {identifier} in {root}"
        ) from None


def load_all(root: str) -> list[Container]:
    """All containers, oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(root):
            with contextlib.suppress(NoSuchContainer, BadUsage):
                found.append(load(root, name))
    return sorted(found, key=lambda entry: str(entry.state["created"]))


def write(path: str, value: Any) -> None:
    """Replace a file by JSON; volatile, so no fsync."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(value))
    os.rename(temporary, path)


@contextlib.contextmanager
def locked(container: Container) -> Iterator[Container]:
    """Hold the container's lock, with its state as it is then; raises NoSuchContainer."""
    import fcntl

    root, identifier = os.path.split(container.directory)
    try:
        descriptor = os.open(container.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoSuchContainer("container does not exist", cause=identifier) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield load(root, identifier)
    finally:
        os.close(descriptor)


def boot() -> str:
    """This boot's identity."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def stat_of(pid: int) -> tuple[int, bool] | None:
    """A process's start time and whether it lives (a zombie does not); None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]), fields[0] not in {b"Z", b"X"}


def is_alive(identity: list[int]) -> bool:
    """Whether the process of [pid, start time] lives."""
    return stat_of(identity[0]) == (identity[1], True)


def identity(pid: int) -> list[int]:
    """[pid, start time]; raises ProcessLookupError."""
    found = stat_of(pid)
    if found is None:
        raise ProcessLookupError(3, "no such process", str(pid))
    return [pid, found[0]]
