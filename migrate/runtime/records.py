"""Container records: what a host knows of a container, written atomically, and their locks."""

from __future__ import annotations

import contextlib
import os
import re
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

import msgspec

from migrate.kernel.files import write_atomically
from migrate.kernel.processes import boot_id, is_running, start_time
from migrate.runtime import locks
from migrate.runtime.errors import ContainerUnknown, NameTaken, SpecInvalid
from migrate.runtime.paths import ContainerPaths, Paths

NAME_PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
RECORD_LIMIT = 1 << 20
_NO_ID = (1 << 32) - 1  # (uid_t) -1
_MOST_RANGES = 340  # of a map, user_namespaces(7)
_OVERFLOW = 65534  # what an id without a map looks like (/proc/sys/kernel/overflowuid)


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of the host that leads to one of the container's."""

    host: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    container: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    protocol: Literal["tcp", "udp"] = "tcp"
    address: str = ""  # of the host; "" is every one that it has

    def __str__(self) -> str:
        """As `run -p` takes it, the protocol always told: 127.0.0.1:8080:80/tcp."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        where = f"{address}:" if address else ""
        return f"{where}{self.host}:{self.container}/{self.protocol}"


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the container keeps of its network wherever it runs.

    `subnet`, `subnet6`, `mtu` and `vni` are those of the network of that name, so that the host to
    which it moves can tell whether its own network of that name is the same one.
    """

    driver: str = "none"
    bridge: str = ""  # an interface of the host, where the user has chosen one and no network
    address: str = ""  # with prefix length, 10.77.0.50/24
    mac: str = ""
    gateway: str = ""
    name: str = ""  # of the network; "" is the default one of the driver
    address6: str = ""  # with prefix length, fd00:77::50/64
    gateway6: str = ""
    subnet: str = ""
    subnet6: str = ""
    mtu: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0  # bytes; 0 is the kernel's choice
    vni: Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)] = 0
    ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=1000)] = ()
    rate_in: Annotated[int, msgspec.Meta(ge=0, lt=1 << 44)] = 0  # bits a second, 0: any
    rate_out: Annotated[int, msgspec.Meta(ge=0, lt=1 << 44)] = 0


class Bind(msgspec.Struct, frozen=True, omit_defaults=True):
    """A directory or file of the host, or a named volume, mounted in the container."""

    source: str  # an absolute path, or a volume's name
    target: str
    read_only: bool = False
    volume: bool = False
    mapped: bool = False  # a path of the host with its ids as the container's (a volume always is)


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits; 0 is none. memory in bytes, cpus in cores, pids a count."""

    memory: int = 0
    cpus: float = 0.0
    pids: int = 0


class IdRange(msgspec.Struct, frozen=True):
    """So many ids of a user namespace from `inside` on are the host's from `outside` on."""

    inside: Annotated[int, msgspec.Meta(ge=0, lt=_NO_ID)]
    outside: Annotated[int, msgspec.Meta(ge=0, lt=_NO_ID)]
    size: Annotated[int, msgspec.Meta(ge=1, le=_NO_ID)]

    def __str__(self) -> str:
        """As --uidmap takes it."""
        return f"{self.inside}:{self.outside}:{self.size}"


class UserNamespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The maps of a container's user namespace; without any it is in the host's.

    `exclusive`: they were chosen for it alone, so that no other container has one of these ids.
    """

    uids: Annotated[tuple[IdRange, ...], msgspec.Meta(max_length=_MOST_RANGES)] = ()
    gids: Annotated[tuple[IdRange, ...], msgspec.Meta(max_length=_MOST_RANGES)] = ()
    exclusive: bool = False

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.uids)

    @property
    def root(self) -> tuple[int, int]:
        """The host's ids of its root; raises SpecInvalid where the maps have none."""
        return self.outside(0, 0)

    def inside(self, user: int, group: int) -> tuple[int, int]:
        """What ids of the host are in the container, as the kernel shows them there."""
        return _inside(self.uids, user), _inside(self.gids, group)

    def outside(self, user: int, group: int) -> tuple[int, int]:
        """What ids of the container are on the host; raises SpecInvalid for one without any."""
        return _outside(self.uids, "user", user), _outside(self.gids, "group", group)


def _inside(ranges: tuple[IdRange, ...], number: int) -> int:
    for entry in ranges:
        if entry.outside <= number < entry.outside + entry.size:
            return entry.inside + number - entry.outside
    return _OVERFLOW if ranges else number


def _outside(ranges: tuple[IdRange, ...], what: str, number: int) -> int:
    for entry in ranges:
        if entry.inside <= number < entry.inside + entry.size:
            return entry.outside + number - entry.inside
    if not ranges:
        return number
    raise SpecInvalid(
        f"the {what} {number} is none in the container's user namespace",
        cause=f"its maps are {', '.join(map(str, ranges))}", mend="give it a map that has it",
    )  # fmt: skip


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One container as this host has it; `generation` grows by one at each change of host."""

    identifier: str
    name: str
    created: float  # seconds since the epoch
    generation: int = 1
    image: str = ""  # reference as the user gave it
    layers: tuple[str, ...] = ()  # diff ids, bottom first
    rootfs: str = ""  # a host directory used as the lowest layer, if no image
    network: Network = Network()
    binds: tuple[Bind, ...] = ()
    resources: Resources = Resources()
    labels: dict[str, str] = {}
    stop_signal: str = "SIGTERM"
    held: str = ""  # the id of an unsettled move: nobody but it may touch the container
    moved_to: str = ""  # the host it has moved to; such a record never runs again
    remove_at_exit: bool = False
    storage: str = ""  # the storage driver that this host has it on; "" is overlay
    terminal: bool = False  # its program has one, whose other end the monitor holds
    interactive: bool = False  # its standard input is open: who is attached can type
    restart: str = ""  # "always", "on-failure", "on-failure:N"
    log_max_size: int = 0  # bytes of a full log file; 0: it is never full
    log_max_files: int = 3  # of them all
    user_namespace: UserNamespace = UserNamespace()


class Process(msgspec.Struct, frozen=True):
    """Init's identity: a pid means nothing without its start time and boot."""

    pid: int
    start_time: int
    boot: str
    started: bool = False  # `start` was given (or the process was restored)
    monitor: int = 0
    monitor_start_time: int = 0
    restored_from: str = ""
    log_pipes: dict[str, str] = {}  # stdout and stderr: the pipe's name, "pipe:[inode]"

    @property
    def alive(self) -> bool:
        """Whether that very process still lives."""
        return self.boot == boot_id() and is_running(self.pid, self.start_time)

    @property
    def monitored(self) -> bool:
        """Whether its monitor still lives."""
        if self.boot != boot_id():
            return False
        began = self.monitor_start_time
        with contextlib.suppress(OSError):
            return is_running(self.monitor, began or start_time(self.monitor))
        return False


def new_identifier() -> str:
    """Twelve random hexadecimal digits."""
    return os.urandom(6).hex()


def check_name(name: str) -> None:
    """Raise SpecInvalid unless `name` can be a container's name."""
    if not NAME_PATTERN.fullmatch(name):
        raise SpecInvalid(
            f"'{name}' can't be a container's name",
            cause="a name has letters, digits, '_', '.' and '-', and starts with a letter or digit",
            mend="choose another name",
        )


def save(paths: Paths, record: Record) -> None:
    """Write the record durably."""
    own = paths.container(record.identifier)
    own.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(own.record, msgspec.json.format(msgspec.json.encode(record)))


def decode(data: bytes) -> Record:
    """The record in `data`; raises SpecInvalid when it is not one."""
    try:
        record = msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError as error:
        raise SpecInvalid("a container's record can't be read", cause=str(error)) from error
    check_name(record.name)
    check_name(record.identifier)
    if record.network.name:
        check_name(record.network.name)
    return record


def load_all(paths: Paths) -> list[Record]:
    """All records of this host, oldest first."""
    directory = paths.state / "containers"
    if not directory.is_dir():
        return []
    found = []
    for path in directory.glob("*/record.json"):
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()[:RECORD_LIMIT]
            if data.strip(b"\0"):  # else the host went down before it was written: see `debris`
                found.append(decode(data))
    return sorted(found, key=lambda record: record.created)


def reload(paths: Paths, record: Record) -> Record:
    """The record as it is now; raises ContainerUnknown when it has been removed meanwhile."""
    try:
        return decode(paths.container(record.identifier).record.read_bytes()[:RECORD_LIMIT])
    except FileNotFoundError:
        raise ContainerUnknown(
            f"there is no container '{record.name}' any more", cause="another command removed it"
        ) from None


def find(paths: Paths, reference: str) -> Record:
    """The container by name, id, or unique beginning of its id; raises ContainerUnknown."""
    everything = load_all(paths)
    for record in everything:
        if reference in {record.name, record.identifier}:
            return record
    matches = [r for r in everything if len(reference) > 1 and r.identifier.startswith(reference)]
    if len(matches) == 1:
        return matches[0]
    cause = "several ids begin so" if matches else "no container of this host has that name or id"
    raise ContainerUnknown(f"there is no container '{reference}'", cause=cause)


def claim_name(paths: Paths, name: str, *, by: str = "") -> None:
    """Raise NameTaken if a container of this host, other than that of the id `by`, has the name."""
    for record in load_all(paths):
        if record.identifier != by and name in {record.name, record.identifier}:
            raise NameTaken(
                f"the name '{name}' is taken", cause=f"container {record.identifier} has it"
            )


def load_process(own: ContainerPaths) -> Process | None:
    """Init's identity; None before `create` has made it."""
    try:
        return msgspec.json.decode(own.process.read_bytes(), type=Process)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def save_process(own: ContainerPaths, process: Process) -> None:
    """Write init's identity."""
    # It means nothing after a reboot, so it need not outlive one.
    write_atomically(own.process, msgspec.json.encode(process), durable=False)


def process_of(pid: int, **fields: Any) -> Process:
    """The identity of a living pid (and its `monitor`); raises FileNotFoundError if it is gone."""
    if monitor := fields.get("monitor"):
        fields = {"monitor_start_time": start_time(monitor)} | fields
    return Process(pid, start_time(pid), boot_id(), **fields)


def locked(own: ContainerPaths, purpose: str, wait: float = 5.0) -> AbstractContextManager[None]:
    """Hold the container's lock; raises ContainerBusy, naming the holder, after `wait` seconds."""
    return locks.locked(str(own.lock), purpose, wait, str(own.state))
