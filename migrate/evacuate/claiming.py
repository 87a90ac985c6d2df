"""What one evacuation claims in the store: the host, the room at targets, each container."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from migrate.evacuate.execution.course import Outcome, State, Task
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import HostState
from migrate.evacuate.planning.room import RESERVE, mebibytes
from migrate.evacuate.store.errors import RoomTaken
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.store.lease import Lease, Told
from migrate.evacuate.survey import Ask

LOOKS, PAUSE = 4, 2.0
"""How often hosts are asked whether what is reserved is there, and seconds between."""


def taken_by_others(store: FleetStore) -> tuple[dict[str, int], dict[str, str]]:
    """By host id: memory that is reserved (bytes), and who empties it."""
    seen = store.overview()
    reserved: dict[str, int] = {}
    for reservation in seen.reservations:
        reserved[reservation.target] = reserved.get(reservation.target, 0) + reservation.memory
    return reserved, {c.name: c.owner for c in seen.claims if c.kind == "host"}


def refuse_overdrawn(store: FleetStore, ask: Ask, targets: Sequence[Host]) -> None:
    """Raise RoomTaken where less memory is free by now than is reserved, ours included.

    To be called when ours is: a plan is as old as the checks of its moves took, and containers of
    others, whose reservations have ended, may have come since. A container that is on its way
    counts twice: one look more, when it has come, tells.
    """
    for attempt in range(LOOKS):
        if attempt:
            time.sleep(PAUSE)
        reserved, _emptied = taken_by_others(store)
        short = [
            (answer, reserved[answer.host_id])
            for answer in ask(targets).values()
            if isinstance(answer, HostState) and answer.host_id in reserved
            and reserved[answer.host_id] > answer.memory_free
        ]  # fmt: skip
        if not short:
            return
    host, size = short[0]
    raise RoomTaken(
        f"host {host.name} has less free memory than when the plan was made",
        cause=f"{mebibytes(size)} are reserved, {mebibytes(host.memory_free)} are free",
    )


class Claims:
    """The claim on one host, with the reservations that it holds. A context manager.

    `at_once`: how many containers move at once; each move needs RESERVE at its target meanwhile.
    """

    def __init__(
        self, store: FleetStore, host: HostState, what: str, told: Told, at_once: int = 1
    ) -> None:  # fmt: skip
        self._store = store
        self._at_once = at_once
        self._lease: Lease = store.claim("host", host.host_id, what, told=told)
        self._lock = threading.Lock()
        self._capacity: dict[str, int] = {}
        self._needs: dict[str, tuple[str, int]] = {}  # by container: host id, bytes

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.release()

    def reserve(
        self, needs: Mapping[str, tuple[str, int]], capacity: Mapping[str, int]
    ) -> None:  # fmt: skip
        """Set aside what each container (by id) needs at its target: host id and bytes.

        `capacity`: bytes by host id that may be reserved in all. Raises RoomTaken, ClaimTaken,
        StoreUnreachable.
        """
        self._needs, self._capacity = dict(needs), dict(capacity)
        for host_id in {host_id for host_id, _size in needs.values()}:
            self._reserve(host_id)

    def _reserve(self, host_id: str) -> None:
        """What is still to come there, and what the moves themselves need."""
        sizes = [size for where, size in self._needs.values() if where == host_id]
        memory = sum(sizes) + RESERVE * min(self._at_once, len(sizes))
        self._store.reserve(self._lease, host_id, memory, self._capacity[host_id])

    def tell_hosts(
        self, hosts: Iterable[HostState], *, cordoned: bool = False, why: str = ""
    ) -> None:  # fmt: skip
        """Let other operators see these hosts as they are. Raises StoreUnreachable."""
        for host in hosts:
            self._store.put_host(
                host.host_id, host.name, host.address, cordoned=cordoned, why=why
            )  # fmt: skip

    @contextmanager
    def container(self, task: Task) -> Iterator[None]:
        """The container claimed for one move; raises ClaimTaken, LeaseLost, StoreUnreachable."""
        self._lease.check()
        with self._store.claim("container", task.container, f"moves {task.name}") as lease:
            lease.check()
            yield

    def done(self, outcome: Outcome, ids: Mapping[str, str]) -> None:
        """Record a move, and give back its room: its memory shows at the target by now.

        `ids`: the host ids by name.

        Raises GenerationTaken, LeaseLost, StoreUnreachable.
        """
        if outcome.state is State.MOVED and outcome.generation:
            self._store.moved(
                outcome.container, ids[outcome.origin], ids[outcome.target], outcome.generation
            )  # fmt: skip
        with self._lock:
            host_id, _size = self._needs.pop(outcome.container, ("", 0))
            if host_id:
                self._reserve(host_id)
