"""Who may have what: pure decisions over what the store holds.

Each takes what was read (`reads_for_…` says which keys it needs) and what is wanted, and gives what
to write, or raises. Asked again after its own success it gives nothing to write: an answer that was
lost on the wire is no rival.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from migrate.evacuate.store.errors import ClaimTaken, GenerationTaken, LeaseLost, RoomTaken
from migrate.evacuate.store.model import (
    Claim,
    Generation,
    Reservation,
    claim_key,
    decode,
    decode_all,
    encode,
    generation_key,
    reservations_key,
)

Found = Mapping[str, bytes]
Writes = dict[str, bytes]


def reads_for_claim(wanted: Claim) -> tuple[str, ...]:
    """What `decide_claim` needs."""
    if wanted.kind == "host":
        return wanted.key, reservations_key(wanted.name)
    return wanted.key, generation_key(wanted.name)


def decide_claim(found: Found, wanted: Claim) -> Writes:
    """A claim is free when nobody has it; a host also only while nobody moves containers to it.

    Raises ClaimTaken; GenerationTaken when the container has moved since its claimer looked.
    """
    if wanted.key in found:
        there = decode(wanted.key, found[wanted.key], Claim)
        if there.lease != wanted.lease:
            raise _taken(there)
        return {}
    if wanted.kind == "host":
        coming = decode_all(found, reservations_key(wanted.name), Reservation)
        if coming:
            raise _receives(coming[0])
    else:
        last = _generation(found, wanted.name)
        if last is not None and 0 < wanted.generation < last.number:
            raise _outdated(last, wanted.generation)
    return {wanted.key: encode(wanted)}


def reads_for_reservation(wanted: Reservation, claim: Claim) -> tuple[str, ...]:
    """What `decide_reservation` needs."""
    return claim.key, claim_key("host", wanted.target), reservations_key(wanted.target)


def decide_reservation(
    found: Found, wanted: Reservation, claim: Claim, capacity: int
) -> Writes:  # fmt: skip
    """Room is there while all reservations together stay within `capacity` (bytes).

    `claim` is the one that it is for. A lease that has a reservation at the target gets the new one
    instead of it, and in any case if it is smaller: others may have found another capacity. Raises
    RoomTaken; ClaimTaken when somebody else has the target; LeaseLost.
    """
    mine = found.get(claim.key)
    if mine is None or decode(claim.key, mine, Claim).lease != claim.lease:
        raise LeaseLost(
            f"the claim on {claim.kind} {claim.name} is lost",
            cause="the store does not have it any more",
        )
    emptied = claim_key("host", wanted.target)
    if emptied in found:
        holder = decode(emptied, found[emptied], Claim)
        if holder.lease != claim.lease:  # who fills a host again has claimed it himself
            raise _taken(holder)
    there = decode_all(found, reservations_key(wanted.target), Reservation)
    if wanted in there:
        return {}
    others = [other for other in there if other.lease != wanted.lease]
    used = sum(other.memory for other in others)
    had = max((r.memory for r in there if r.lease == wanted.lease), default=0)
    if wanted.memory > had and used + wanted.memory > capacity:
        raise _full(wanted, others, capacity)
    return {wanted.key: encode(wanted)}


def reads_for_move(done: Generation) -> tuple[str, ...]:
    """What `decide_move` needs."""
    return (done.key,)


def decide_move(found: Found, done: Generation) -> Writes:
    """A move is recorded over an older generation only, and over its neighbour only from its host.

    A store that lags by more, because containers were moved without it, is brought up to date.
    Raises GenerationTaken.
    """
    last = _generation(found, done.container)
    if last is not None:
        if (last.number, last.host) == (done.number, done.host):
            return {}
        if last.number >= done.number:
            raise _outdated(last, done.number)
        if last.number == done.number - 1 and last.host != done.from_host:
            raise _outdated(last, done.number)
    return {done.key: encode(done)}


def _generation(found: Found, container: str) -> Generation | None:
    key = generation_key(container)
    return decode(key, found[key], Generation) if key in found else None


def moment(since: float) -> str:
    """Seconds since the epoch as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))


def _taken(there: Claim) -> ClaimTaken:
    ends = (
        f"at most {there.lease_seconds:g} s after it" if there.lease_seconds else "with its process"
    )
    return ClaimTaken(
        f"{there.kind} {there.name} is claimed by {there.owner}",
        cause=f"{there.what}, since {moment(there.since)}",
        mend=f"wait until that has ended, or end it there; after a crash its claim ends {ends}",
    )


def _receives(coming: Reservation) -> ClaimTaken:
    return ClaimTaken(
        f"host {coming.target} is a target of {coming.owner}",
        cause=f"{coming.what}, since {moment(coming.since)}",
        mend="cordon the host, so that nobody takes it for a target, and wait for that move's end",
    )


def _full(wanted: Reservation, others: list[Reservation], capacity: int) -> RoomTaken:
    used = sum(other.memory for other in others)
    owners = ", ".join(dict.fromkeys(other.owner for other in others[:20]))
    return RoomTaken(
        f"host {wanted.target} has no room for {wanted.memory >> 20} MiB",
        cause=f"of {capacity >> 20} MiB, {used >> 20} MiB are reserved"
        + (f" by {owners}" if owners else ""),
    )


def _outdated(last: Generation, number: int) -> GenerationTaken:
    return GenerationTaken(
        f"container {last.container} is not what generation {number} says",
        cause=f"its generation {last.number} came to host {last.host} from {last.from_host}"
        f" at {moment(last.since)}",
    )
