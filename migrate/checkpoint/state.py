"""The description that goes with the CRIU images: what the restoring side has to prepare."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import msgspec

from migrate.checkpoint import subgroups
from migrate.checkpoint.errors import CheckpointBad, CheckpointTooNew, NotDumpable
from migrate.checkpoint.netns import contents
from migrate.checkpoint.netns.contents import Contents
from migrate.checkpoint.subgroups import Subgroup
from migrate.kernel.mountinfo import MountInfo, read_mountinfo
from migrate.runtime import usernamespaces
from migrate.runtime.errors import SpecInvalid
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Process, Record, check_name
from migrate.runtime.rootfs import DEVICES
from migrate.runtime.spec import Spec, validate

FORMAT = 1
NETNS_KEY = "migrate-netns"
STATE_FILE = "state.json"
STATE_LIMIT = 8 << 20
DEVICE_PLACES = frozenset(f"/dev/{name}" for name, _major, _minor in DEVICES)


class ExternalMount(msgspec.Struct, frozen=True):
    """A mount whose content is not CRIU's to save.

    `kind` is bind, device (of the host's, in a user namespace), mask-file or mask-directory.
    """

    kind: str
    target: str

    @property
    def key(self) -> str:
        """The name by which dump and restore agree on it."""
        return f"{self.kind}:{self.target}"


class State(msgspec.Struct, frozen=True):
    """Everything about a checkpointed container besides memory and files."""

    record: Record
    spec: dict[str, Any]
    log_pipes: dict[str, str]  # stdout and stderr: "pipe:[inode]" at the dump
    mounts: tuple[ExternalMount, ...]
    neighbours: tuple[tuple[str, str], ...] = ()  # IPv4 address and MAC, as of preflight
    names: dict[str, tuple[str, ...]] = {}  # addresses by name in its network, as of preflight
    close_connections: bool = False  # TCP connections are not to go along
    netns: Contents = Contents()  # of its network namespace, when it was frozen
    subgroups: tuple[Subgroup, ...] = ()  # control groups of its own making, when it was frozen
    machine: str = platform.machine()
    kernel: str = platform.release()
    criu: str = ""
    format: int = FORMAT

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.format(msgspec.json.encode(self))


def decode(data: bytes) -> State:
    """The state in `data`, every field checked; raises CheckpointBad, CheckpointTooNew."""
    if len(data) > STATE_LIMIT:
        raise CheckpointBad("the checkpoint's description is too large")
    try:
        plain = json.loads(data)
        if isinstance(plain, dict) and plain.get("format", 0) > FORMAT:
            raise CheckpointTooNew(
                "this checkpoint is of a newer format",
                cause=f"its format is {plain['format']}, this migrate knows {FORMAT}",
            )
        state = msgspec.json.decode(data, type=State)
        validate(state.spec)
        usernamespaces.check(state.record.user_namespace, state.record.network.driver)
        usernamespaces.require_same(state.spec, state.record)
        contents.check(state.netns)
        subgroups.check(state.subgroups)
        check_name(state.record.identifier)
        check_name(state.record.name)
        if state.record.network.name:
            check_name(state.record.network.name)
    except (ValueError, TypeError, msgspec.DecodeError, SpecInvalid) as error:
        raise CheckpointBad(
            "the checkpoint's description can't be read", cause=str(error)
        ) from error
    return state


def describe(paths: Paths, record: Record, spec: Spec, process: Process) -> State:
    """The state of a running container, with its mounts sorted out; raises NotDumpable."""
    from migrate.criu.provide import read_chosen

    chosen = read_chosen()
    return State(
        record=record, spec=spec, log_pipes=process.log_pipes,
        mounts=external_mounts(record, spec, process.pid, read_mountinfo(process.pid)),
        criu=chosen.version if chosen else "",
    )  # fmt: skip


def external_mounts(
    record: Record, spec: Spec, pid: int, seen: list[MountInfo]
) -> tuple[ExternalMount, ...]:
    """Which of the container's mounts CRIU must take as external; raises NotDumpable."""
    binds = {bind.target for bind in record.binds}
    masked = set(spec.get("linux", {}).get("maskedPaths", []))
    found = []
    for mount in seen:
        if mount.mount_point in binds:
            found.append(ExternalMount("bind", mount.mount_point))
        elif record.user_namespace and mount.mount_point in DEVICE_PLACES:
            found.append(ExternalMount("device", mount.mount_point))
        elif mount.mount_point in masked:
            inside = Path(f"/proc/{pid}/root{mount.mount_point}")
            kind = "mask-directory" if inside.is_dir() else "mask-file"
            found.append(ExternalMount(kind, mount.mount_point))
        elif any(mount.mount_point.startswith(f"{bind}/") for bind in binds):
            raise NotDumpable(
                f"there is a mount below the bind mount at {mount.mount_point}",
                cause="the host directory has another file system mounted in it",
                mend="bind that one by a -v of its own",
            )
    return tuple(found)


def has_own_netns(record: Record) -> bool:
    """Whether the container's network namespace is made by us, outside CRIU."""
    return driver_of(record.network.driver).own_namespace


def mask_directory(paths: Paths) -> Path:
    """An empty directory of this host that stands for masked directories at a restore."""
    directory = paths.run / "empty"
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    return directory
