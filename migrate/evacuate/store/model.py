"""What the store holds: values in JSON, and the keys that they are under.

    claims/KIND/NAME           a host being emptied, a container being moved; ends with its owner
    reservations/TARGET/LEASE  memory that a move will need at a target; ends with its owner
    generations/CONTAINER      where a container was last moved to; stays
    hosts/HOST                 a host of the fleet as some operator last saw it; stays

Hosts are named by their id (`HostState.host_id`), which is the same in every operator's inventory.
Everything read is untrusted: another version, or a person, may have written it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from migrate.errors import UsageError
from migrate.evacuate.store.errors import StoreUnreadable

CLAIMS, RESERVATIONS, GENERATIONS, HOSTS = "claims/", "reservations/", "generations/", "hosts/"
VALUE_LIMIT = 16 << 10  # bytes of one value
NAME_LIMIT = 255  # characters of a host's or container's name

_PRINTABLE = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"  # it comes to other people's terminals

Kind: TypeAlias = Literal["host", "container"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LIMIT, pattern=_PRINTABLE)]
Text = Annotated[str, msgspec.Meta(max_length=1000, pattern=_PRINTABLE)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Seconds = Annotated[float, msgspec.Meta(ge=0, lt=1e11)]  # up to the year 5138


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """That `owner` works on a host or container; `since` in seconds since the epoch.

    `lease_seconds` is how long a claim outlives a crash of its owner, 0 where it ends with it.
    """

    kind: Kind
    name: Name
    owner: Text  # USER@MACHINE (process PID)
    what: Text  # it does, for people: "empties alpha"
    since: Seconds
    lease: Name
    lease_seconds: Seconds = 0.0
    generation: Number = 0  # of a container as its owner knows it, 0 if not told

    @property
    def key(self) -> str:
        """Where it is kept."""
        return claim_key(self.kind, self.name)


class Reservation(msgspec.Struct, frozen=True):
    """Bytes of memory at a target that a container on its way there will take."""

    target: Name
    memory: Size
    owner: Text
    what: Text
    since: Seconds
    lease: Name

    @property
    def key(self) -> str:
        """Where it is kept: a lease has one at each target."""
        return f"{reservations_key(self.target)}{_checked(self.lease)}"


class Generation(msgspec.Struct, frozen=True):
    """The last change of hosts of a container that the store was told."""

    container: Name
    number: Number
    host: Name
    from_host: Name
    since: Seconds

    @property
    def key(self) -> str:
        """Where it is kept."""
        return generation_key(self.container)


class FleetHost(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host as `by` saw it at `since`."""

    host_id: Name
    name: Name
    address: Text
    by: Text
    since: Seconds
    cordoned: bool = False
    why: Text = ""

    @property
    def key(self) -> str:
        """Where it is kept."""
        return host_key(self.host_id)


Value = TypeVar("Value", Claim, Reservation, Generation, FleetHost)


def claim_key(kind: Kind, name: str) -> str:
    """The key of a claim on a host (by id) or container."""
    return f"{CLAIMS}{kind}/{_checked(name)}"


def reservations_key(target: str) -> str:
    """The prefix of all reservations at a host."""
    return f"{RESERVATIONS}{_checked(target)}/"


def generation_key(container: str) -> str:
    """The key of a container's generation."""
    return f"{GENERATIONS}{_checked(container)}"


def host_key(host_id: str) -> str:
    """The key of a host of the fleet."""
    return f"{HOSTS}{_checked(host_id)}"


def _checked(name: str) -> str:
    """`name` as one segment of a key; raises UsageError."""
    if not 0 < len(name) <= NAME_LIMIT or any(unicodedata.category(c)[0] == "C" for c in name):
        raise UsageError(
            f"{name[:40]!r} can't be a name in the fleet's store",
            cause=f"a name has 1 to {NAME_LIMIT} printable characters",
        )
    return quote(name, safe="")


def encode(value: Value) -> bytes:
    """The value as it is stored; raises UsageError when it can't be read back."""
    data = msgspec.json.encode(value)
    try:
        if len(data) > VALUE_LIMIT:
            raise msgspec.ValidationError(f"it has {len(data)} bytes, {VALUE_LIMIT} may be stored")
        msgspec.json.decode(data, type=type(value))
    except msgspec.DecodeError as error:
        raise UsageError(f"{value.key} can't be stored", cause=str(error)) from error
    return data


def decode(key: str, data: bytes, kind: type[Value]) -> Value:
    """The value found under `key`; raises StoreUnreadable when it is none, or belongs elsewhere."""
    try:
        if len(data) > VALUE_LIMIT:
            raise msgspec.ValidationError(f"it has {len(data)} bytes, {VALUE_LIMIT} at most")
        value = msgspec.json.decode(data, type=kind)
        if value.key != key:
            raise msgspec.ValidationError(f"it is a value for {value.key[:400]}")
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise StoreUnreadable(
            f"the fleet's store holds no {kind.__name__.lower()} under {key[:400]}",
            cause=str(error),
            mend="remove that key from the store, once nobody moves what it names",
        ) from error
    return value


def decode_all(found: Mapping[str, bytes], prefix: str, kind: type[Value]) -> list[Value]:
    """All values beneath a prefix, by key; raises StoreUnreadable."""
    return [decode(key, found[key], kind) for key in sorted(found) if key.startswith(prefix)]
