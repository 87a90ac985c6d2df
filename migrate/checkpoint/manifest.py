"""The manifest of a checkpoint: what belongs to it, each member's size and digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

import msgspec

from migrate.checkpoint.errors import CheckpointBad, CheckpointTooNew
from migrate.checkpoint.files import DIFF_FILE, volume_names
from migrate.checkpoint.state import STATE_FILE, STATE_LIMIT, State

FORMAT = 1
KIND = "migrate-checkpoint"
MANIFEST_FILE = "manifest.json"
MANIFEST_LIMIT = 16 << 20
MEMBER_LIMIT = 100_000
INVENTORY = "criu/inventory.img"
# The only names that a checkpoint may hold: none of them can leave a directory.
NAME_PATTERN = re.compile(
    r"state\.json|diff\.tar|log"
    r"|volumes/[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\.tar"
    r"|criu/[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\.img"
)


class Member(msgspec.Struct, frozen=True):
    """One file; size in bytes, sha256 in hexadecimal digits."""

    name: str
    size: int
    sha256: str


class Container(msgspec.Struct, frozen=True):
    """Which container it is."""

    name: str
    id: str
    generation: int


class Manifest(msgspec.Struct, frozen=True):
    """`digest` is the sha256 of the same object, as compact JSON, with an empty digest."""

    container: Container
    time: float  # seconds since the epoch, when the container was frozen
    machine: str
    kernel: str
    criu: str
    members: tuple[Member, ...]
    kind: str = KIND
    format: int = FORMAT
    migrate: str = ""
    digest: str = ""

    def own_digest(self) -> str:
        """What `digest` must be."""
        plain = msgspec.json.encode(msgspec.structs.replace(self, digest=""))
        return hashlib.sha256(plain).hexdigest()

    def encode(self) -> bytes:
        """As JSON, with its digest."""
        whole = msgspec.structs.replace(self, digest=self.own_digest())
        return msgspec.json.format(msgspec.json.encode(whole))

    @property
    def total(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)


def make(state: State, members: Iterable[Member], time: float) -> Manifest:
    """The manifest of `state` and `members`."""
    import migrate

    record = state.record
    return Manifest(
        container=Container(record.name, record.identifier, record.generation), time=time,
        machine=state.machine, kernel=state.kernel, criu=state.criu, members=tuple(members),
        migrate=migrate.__version__,
    )  # fmt: skip


def decode(data: bytes) -> Manifest:
    """The manifest in `data`, whole and consistent; raises CheckpointBad, CheckpointTooNew."""
    if len(data) > MANIFEST_LIMIT:
        raise CheckpointBad("the checkpoint's manifest is too large")
    try:
        plain = json.loads(data)
        _refuse_newer(plain)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise CheckpointBad("the checkpoint's manifest can't be read", cause=str(error)) from error
    if manifest.kind != KIND:
        raise CheckpointBad("this is no checkpoint", cause=f"its kind is {manifest.kind[:80]!r}")
    if manifest.digest != manifest.own_digest():
        raise CheckpointBad(
            "the checkpoint's manifest is damaged", cause="its digest does not match"
        )
    _check_members(manifest)
    return manifest


def _refuse_newer(plain: object) -> None:
    if isinstance(plain, dict) and plain.get("kind") == KIND:
        number = plain.get("format")
        if isinstance(number, int) and number > FORMAT:
            raise CheckpointTooNew(
                "this checkpoint is of a newer format",
                cause=f"its format is {number}, this migrate knows {FORMAT}",
            )


def _check_members(manifest: Manifest) -> None:
    names = [member.name for member in manifest.members]
    for member in manifest.members:
        if not NAME_PATTERN.fullmatch(member.name):
            raise CheckpointBad(
                "the checkpoint names a file that no checkpoint has",
                cause=ascii(member.name)[:200],
            )
        if member.size < 0 or not re.fullmatch("[0-9a-f]{64}", member.sha256):
            raise CheckpointBad(f"the checkpoint's entry for {member.name} is not valid")
    if len(set(names)) != len(names) or len(names) > MEMBER_LIMIT:
        raise CheckpointBad("the checkpoint names a file twice, or too many files")
    sizes = {member.name: member.size for member in manifest.members}
    for name in (STATE_FILE, DIFF_FILE, INVENTORY):
        if name not in sizes:
            raise CheckpointBad("the checkpoint is not whole", cause=f"it has no {name}")
    if sizes[STATE_FILE] > STATE_LIMIT:
        raise CheckpointBad("the checkpoint's description is too large")


def check_against(manifest: Manifest, state: State) -> None:
    """Raise CheckpointBad unless manifest and state speak of the same container, whole."""
    record = state.record
    told = Container(record.name, record.identifier, record.generation)
    if told != manifest.container:
        raise CheckpointBad(
            "the checkpoint contradicts itself",
            cause=f"the manifest names {manifest.container}, the description {told}",
        )
    names = {member.name for member in manifest.members}
    for volume in volume_names(record):
        if f"volumes/{volume}.tar" not in names:
            raise CheckpointBad(
                "the checkpoint is not whole", cause=f"it lacks the volume '{volume}'"
            )
