"""What a store must be able to do: read at one moment, change all or nothing, end with an owner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

CALL_SECONDS = 10.0  # that one call may take, whatever it tries


@dataclass(frozen=True)
class Snapshot:
    """What was read, as it was at `revision`.

    `reads` are the keys asked for; one that ends in "/" stands for all beneath it.
    """

    reads: tuple[str, ...]
    found: Mapping[str, bytes]
    revision: int
    incarnation: str = ""  # of the whole store: revisions of another one say nothing


class KeyValues(Protocol):
    """Keys and values with optimistic transactions. Every call ends in bounded time.

    All methods raise StoreUnreachable, and StoreUnreadable for what can't be right.
    """

    place: str
    """Where it is, for people; without passwords."""

    def read(self, reads: Collection[str], *, within: float = CALL_SECONDS) -> Snapshot:
        """All of `reads` at one moment, no older than the call; `within` in seconds."""

    def commit(
        self, read: Snapshot, writes: Mapping[str, bytes], *, removes: Collection[str] = (),
        lease: str = "",
    ) -> bool:  # fmt: skip
        """Write and remove, unless something of `read.reads` was written since: then False.

        What is written ends with `lease`, if one is given. StoreUnreachable leaves open whether it
        was done. Raises LeaseLost when there is no such lease.
        """

    def grant(self, seconds: float) -> tuple[str, float]:
        """A new lease, and for how long it holds: seconds, 0 for as long as this process lives."""

    def renew(self, lease: str, *, within: float = CALL_SECONDS) -> float:
        """For how many seconds from the call on the lease holds now; 0 when it has ended."""

    def revoke(self, lease: str) -> None:
        """End the lease and what was written with it."""


def covers(read: str, key: str) -> bool:
    """Whether `key` is among what `read` stands for."""
    return key.startswith(read) if read.endswith("/") else key == read
