"""The fleet's store: claims, reservations, generations and hosts, over any `KeyValues`.

Every change is read, decided (`rules.py`) and written only if nothing of what was read has been
written meanwhile; otherwise it is decided anew.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.store import model, rules
from migrate.evacuate.store.errors import LeaseLost, StoreUnreachable
from migrate.evacuate.store.keyvalues import KeyValues
from migrate.evacuate.store.lease import Lease, Told, now
from migrate.evacuate.store.model import Claim, FleetHost, Generation, Kind, Reservation

LEASE_SECONDS = 30.0
SHORTEST_LEASE, LONGEST_LEASE = 2.0, 3600.0  # etcd gives no shorter ones with its usual settings
_TRIES = 100  # of a change that others overtake
_LONGEST_PAUSE = 0.1  # seconds before the next try


@dataclass(frozen=True)
class Overview:
    """All that the store holds, each by its key."""

    claims: tuple[Claim, ...]
    reservations: tuple[Reservation, ...]
    generations: tuple[Generation, ...]
    hosts: tuple[FleetHost, ...]


def this_owner() -> str:
    """This process for people: USER@MACHINE (process PID)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{platform.node()} (process {os.getpid()})"


class FleetStore:
    """Safe for several threads. All methods raise StoreUnreachable and StoreUnreadable."""

    def __init__(self, values: KeyValues, owner: str = "") -> None:
        self._values = values
        self.owner = owner or this_owner()

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self._values.place

    def claim(
        self, kind: Kind, name: str, what: str, *, generation: int = 0,
        lease_seconds: float = LEASE_SECONDS, told: Told | None = None,
    ) -> Lease:  # fmt: skip
        """Take a host (by its id) that is to be emptied, or a container that is to be moved.

        `what` says for people what is done with it. A container is claimed with the `generation`
        that its record had. `told` is called by another thread when the lease is lost. Raises
        ClaimTaken, GenerationTaken, and LeaseLost when the store was too slow.
        """
        if not SHORTEST_LEASE <= lease_seconds <= LONGEST_LEASE:
            raise UsageError(f"a lease has {SHORTEST_LEASE:g} to {LONGEST_LEASE:g} s")
        begun = now()
        lease, seconds = self._values.grant(lease_seconds)
        until = begun + seconds if seconds else math.inf
        try:
            claim = Claim(kind, name, self.owner, what, time.time(), lease, seconds, generation)
            self._take(claim, until)
        except BaseException:
            with contextlib.suppress(MigrateError):
                self._values.revoke(lease)
            raise
        return Lease(
            claim, held_until=until, seconds=seconds or lease_seconds, told=told,
            renew=lambda within: self._renew(claim, within),
            revoke=lambda: self._values.revoke(lease),
        )  # fmt: skip

    def _take(self, claim: Claim, until: float) -> None:
        """Write the claim; `until` is when its lease ends by our clock."""
        reads = rules.reads_for_claim(claim)
        self._change(reads, lambda found: rules.decide_claim(found, claim), claim.lease)
        if now() >= until:
            raise LeaseLost(
                f"the claim on {claim.kind} {claim.name} took too long",
                cause=f"{self.place} answered after more than {claim.lease_seconds:g} s",
                mend="see what slows the store, then repeat",
            )

    def reserve(self, lease: Lease, target: str, memory: int, capacity: int) -> None:
        """Set `memory` bytes of the host `target` (its id) aside until the lease is released.

        `capacity` is what may be set aside there in all, bytes. A lease has one reservation at a
        target: the last. Raises LeaseLost, RoomTaken, and ClaimTaken when the target is emptied.
        """
        lease.check()
        claim = lease.claim
        wanted = Reservation(target, memory, self.owner, claim.what, time.time(), claim.lease)
        self._change(
            rules.reads_for_reservation(wanted, claim),
            lambda found: rules.decide_reservation(found, wanted, claim, capacity), claim.lease,
        )  # fmt: skip
        lease.check()

    def generation(self, container: str) -> Generation | None:
        """Where the container was last moved to, as far as the store was told."""
        key = model.generation_key(container)
        found = self._values.read((key,)).found
        return model.decode(key, found[key], Generation) if key in found else None

    def moved(self, container: str, from_host: str, to_host: str, generation: int) -> None:
        """Record that the container has `generation` now and is on `to_host` (ids of hosts).

        Told twice it is recorded once. Raises GenerationTaken when the store knows better.
        """
        done = Generation(container, generation, to_host, from_host, time.time())
        self._change(rules.reads_for_move(done), lambda found: rules.decide_move(found, done))

    def put_host(
        self, host_id: str, name: str, address: str, *, cordoned: bool = False, why: str = ""
    ) -> None:
        """Record a host as it is now; who writes last, wins."""
        host = FleetHost(host_id, name, address, self.owner, time.time(), cordoned, why)
        self._change((), lambda _found: {host.key: model.encode(host)})

    def forget_host(self, host_id: str) -> None:
        """Take a host out; one that is not there is none the less gone."""
        self._values.commit(self._values.read(()), {}, removes=(model.host_key(host_id),))

    def overview(self) -> Overview:
        """All of it at one moment."""
        prefixes = (model.CLAIMS, model.RESERVATIONS, model.GENERATIONS, model.HOSTS)
        found = self._values.read(prefixes).found
        return Overview(
            tuple(model.decode_all(found, model.CLAIMS, Claim)),
            tuple(model.decode_all(found, model.RESERVATIONS, Reservation)),
            tuple(model.decode_all(found, model.GENERATIONS, Generation)),
            tuple(model.decode_all(found, model.HOSTS, FleetHost)),
        )

    def _renew(self, claim: Claim, within: float) -> float:
        """Also look whether the claim is ours: a person may have removed it, and others taken it.

        The look needs a majority of the store's members, which a mere renewal may not.
        """
        seconds = self._values.renew(claim.lease, within=within / 2)
        data = self._values.read((claim.key,), within=within / 2).found.get(claim.key)
        ours = data is not None and model.decode(claim.key, data, Claim).lease == claim.lease
        return seconds if ours else 0.0

    def _change(
        self, reads: tuple[str, ...], decide: Callable[[rules.Found], rules.Writes], lease: str = ""
    ) -> None:
        doubt: StoreUnreachable | None = None
        for _ in range(_TRIES):
            try:
                before = self._values.read(reads)
                writes = decide(before.found)
                if not writes or self._values.commit(before, writes, lease=lease):
                    return
                doubt = None
            except StoreUnreachable as error:
                if doubt is not None:
                    raise error from doubt
                doubt = error  # it may have been done: one more look tells
            time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 -- no secret
        raise StoreUnreachable(
            f"{self.place} could not be changed", cause=f"others were quicker {_TRIES} times",
            mend="repeat when fewer moves begin at once",
        )  # fmt: skip
