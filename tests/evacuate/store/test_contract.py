"""What both stores promise; real processes race, real processes die."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.store.errors import (
    ClaimTaken,
    GenerationTaken,
    LeaseLost,
    RoomTaken,
    StoreUnreachable,
)
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.store.lease import Lease
from tests.engine import eventually
from tests.evacuate.store.claimer import Claimer, opened

MIB = 1 << 20


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"name-{random.getrandbits(60):015x}"


@pytest.fixture
def claimers(url: str) -> Iterator[Callable[[int], list[Claimer]]]:
    """Makes other operators."""
    made: list[Claimer] = []

    def make(count: int) -> list[Claimer]:
        made.extend(Claimer(url) for _ in range(count))
        return made

    yield make
    for claimer in made:
        claimer.kill()


def _seen(store: FleetStore, name: str) -> list[str]:
    found = store.overview()
    return [claim.name for claim in found.claims if claim.name == name]


def test_a_claim_excludes_until_it_is_released(store: FleetStore, url: str, name: str):
    with store.claim("host", name, "empties alpha") as lease:
        lease.check()
        with pytest.raises(ClaimTaken) as taken:
            opened(url).claim("host", name, "empties it too")
        text = str(taken.value)
        assert taken.value.code == 122
        assert store.owner in text
        assert "empties alpha, since 20" in text
        assert "after a crash its claim ends" in text
        store.claim("container", name, "another kind of thing").release()
    assert lease.lost
    with pytest.raises(LeaseLost, match="released"):
        lease.check()
    store.claim("host", name, "again").release()
    assert _seen(store, name) == []


@pytest.mark.parametrize("seed", range(5))
def test_of_racing_threads_one_wins(store: FleetStore, name: str, seed: int):
    chance, barrier = random.Random(seed), threading.Barrier(8)
    outcomes: list[str] = []
    leases: list[Lease] = []

    def race(delay: float) -> None:
        barrier.wait()
        time.sleep(delay)
        try:
            leases.append(store.claim("container", name, "races"))
            outcomes.append("won")
        except MigrateError as error:
            outcomes.append(type(error).__name__)

    threads = [
        threading.Thread(target=race, args=(chance.random() * 0.005,)) for _ in range(8)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lease in leases:
        lease.release()
    assert sorted(outcomes) == ["ClaimTaken"] * 7 + ["won"]


def test_of_racing_processes_one_wins(
    claimers: Callable[[int], list[Claimer]], store: FleetStore, name: str
):
    racing = claimers(8)
    for turn in range(10):
        for claimer in racing:
            claimer.tell("claim", "host", f"{name}-{turn}", 60)
        assert sorted(c.hear() for c in racing) == ["ClaimTaken"] * 7 + ["ok"]
    assert len([c for c in store.overview().claims if c.name.startswith(name)]) == 10


def test_a_killed_owners_claim_and_reservation_end(
    claimers: Callable[[int], list[Claimer]], store: FleetStore, name: str
):
    (claimer,) = claimers(1)

    def is_free() -> bool:
        try:
            lease = store.claim("container", name, "after the crash")
        except ClaimTaken:
            return False
        with lease:
            store.reserve(lease, f"{name}-target", 10 * MIB, 10 * MIB)
        return True

    def outlives_its_lease() -> bool:
        """A machine that lets it sleep for too long lets it lose the claim; then it knows that."""
        answers = [
            claimer.ask("claim", "container", name, 2),
            claimer.ask("reserve", f"{name}-target", 10 * MIB, 10 * MIB),
        ]
        assert set(answers) <= {"ok", "LeaseLost"}
        if "LeaseLost" in answers:
            return False
        time.sleep(3)  # longer than the lease: it is renewed
        free, lost = is_free(), claimer.ask("check") == "LeaseLost"
        assert lost or not free
        if lost:
            claimer.ask("release")
        return not lost

    assert eventually(outlives_its_lease, 60)
    claimer.kill()
    assert eventually(is_free, 60)


def test_reservations_stay_within_the_capacity(
    claimers: Callable[[int], list[Claimer]], store: FleetStore, name: str
):
    chance, racing, capacity = random.Random(7), claimers(8), 100 * MIB
    for turn in range(6):
        wanted = [chance.randrange(1, 45) * MIB for _ in racing]
        for index, claimer in enumerate(racing):
            assert claimer.ask("claim", "container", f"{name}-{turn}-{index}", 60) == "ok"
        for claimer, memory in zip(racing, wanted, strict=True):
            claimer.tell("reserve", name, memory, capacity)
        answers = [claimer.hear() for claimer in racing]
        assert set(answers) <= {"ok", "RoomTaken"}
        granted = sum(m for m, a in zip(wanted, answers, strict=True) if a == "ok")
        kept = [r for r in store.overview().reservations if r.target == name]
        assert granted == sum(r.memory for r in kept) <= capacity
        refused = [m for m, a in zip(wanted, answers, strict=True) if a != "ok"]
        assert all(granted + memory > capacity for memory in refused)  # none without need
        for claimer in racing:
            assert claimer.ask("release") == "ok"
        assert not [r for r in store.overview().reservations if r.target == name]


def test_room_is_counted_by_lease_and_freed_with_it(store: FleetStore, name: str):
    with store.claim("container", f"{name}-a", "moves a") as first:
        store.reserve(first, name, 6 * MIB, 10 * MIB)
        store.reserve(first, name, 7 * MIB, 10 * MIB)  # instead of the 6
        with store.claim("container", f"{name}-b", "moves b") as second:
            with pytest.raises(RoomTaken) as full:
                store.reserve(second, name, 4 * MIB, 10 * MIB)
            assert "of 10 MiB, 7 MiB are reserved by" in full.value.cause
            store.reserve(second, name, 3 * MIB, 10 * MIB)
            first.release()
            store.reserve(second, name, 10 * MIB, 10 * MIB)
        with pytest.raises(LeaseLost):
            store.reserve(second, name, 1, 10 * MIB)


def test_a_host_is_emptied_or_a_target_never_both(store: FleetStore, name: str):
    with store.claim("container", name, "moves") as moving:
        store.reserve(moving, name, MIB, 10 * MIB)
        with pytest.raises(ClaimTaken, match="is a target of"):
            store.claim("host", name, "empties")
    with (
        store.claim("host", name, "empties"),
        store.claim("container", name, "moves") as moving,
        pytest.raises(ClaimTaken, match="is claimed by"),
    ):
        store.reserve(moving, name, MIB, 10 * MIB)


def test_generations_only_grow(store: FleetStore, name: str):
    assert store.generation(name) is None
    store.moved(name, "alpha", "beta", 2)
    store.moved(name, "alpha", "beta", 2)  # the answer was lost
    found = store.generation(name)
    assert found is not None
    assert (found.number, found.host, found.from_host) == (2, "beta", "alpha")
    for source, target, number in [
        ("alpha", "gamma", 2), ("alpha", "beta", 1), ("gamma", "alpha", 3)
    ]:  # fmt: skip
        with pytest.raises(GenerationTaken, match="generation"):
            store.moved(name, source, target, number)
    assert store.generation(name) == found
    store.moved(name, "beta", "alpha", 3)
    store.moved(name, "delta", "gamma", 7)  # moved without the store in between
    found = store.generation(name)
    assert found is not None
    assert (found.number, found.host) == (7, "gamma")
    with pytest.raises(GenerationTaken):
        store.claim("container", name, "knows an old record", generation=6)
    store.claim("container", name, "knows it", generation=7).release()


def test_of_racing_moves_to_one_generation_one_is_recorded(
    claimers: Callable[[int], list[Claimer]], store: FleetStore, name: str
):
    racing = claimers(6)
    for number in range(2, 8):
        last = store.generation(name)
        source = last.host if last else "first"
        for index, claimer in enumerate(racing):
            claimer.tell("moved", name, source, f"host-{number}-{index}", number)
        answers = [claimer.hear() for claimer in racing]
        assert sorted(answers) == ["GenerationTaken"] * 5 + ["ok"]
        found = store.generation(name)
        assert found is not None
        assert found.host == f"host-{number}-{answers.index('ok')}"


def test_a_claim_that_was_taken_away_is_told(store: FleetStore, name: str):
    told: list[LeaseLost] = []
    lease = store.claim("container", name, "moves", lease_seconds=6, told=told.append)
    store._values.commit(store._values.read(()), {}, removes=(lease.claim.key,))
    with pytest.raises(LeaseLost):  # also before it is told
        store.reserve(lease, f"{name}-target", MIB, 10 * MIB)
    assert eventually(lambda: told)
    assert lease.lost
    with pytest.raises(LeaseLost, match="does not have it any more"):
        lease.check()
    with store.claim("container", name, "a successor") as other:
        lease.release()  # must not end the other's
        other.check()
        assert _seen(store, name) == [name]
    assert len(told) == 1


def test_hosts_are_mirrored_and_forgotten(store: FleetStore, name: str):
    store.put_host(name, "alpha", "root@10.0.0.3")
    store.put_host(name, "alpha", "root@10.0.0.3", cordoned=True, why="new kernel")
    (found,) = [host for host in store.overview().hosts if host.host_id == name]
    assert (found.name, found.cordoned, found.why) == ("alpha", True, "new kernel")
    assert found.by == store.owner
    store.forget_host(name)
    store.forget_host(name)
    assert not [host for host in store.overview().hosts if host.host_id == name]


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 256, "\x1b[2J", "\ud800"])
def test_names_that_no_store_takes(store: FleetStore, bad: str):
    with pytest.raises(UsageError):
        store.claim("host", bad, "empties")
    with pytest.raises(UsageError):
        store.moved(bad, "alpha", "beta", 2)


@pytest.mark.parametrize("strange", ["../../etc/passwd", "a/b", "root@[::1]:22", "ü%2F", "."])
def test_names_with_anything_printable(store: FleetStore, name: str, strange: str):
    with store.claim("host", name + strange, "empties"):
        assert _seen(store, name + strange) == [name + strange]
        store.claim("host", name, "empties").release()


@pytest.mark.parametrize("seed", range(3))
def test_answers_that_are_lost_change_nothing(store: FleetStore, name: str, seed: int):
    """Half of the answers to writes are lost: each counts once, and for whoever wrote it."""
    chance, commit = random.Random(seed), store._values.commit

    def lossy(*arguments: Any, **options: Any) -> bool:
        done = commit(*arguments, **options)
        if chance.random() < 0.5:
            raise StoreUnreachable("the answer was lost")
        return done

    store._values.commit = lossy  # type: ignore[method-assign]
    for number in range(2, 12):
        with store.claim("container", name, "moves") as lease:
            store.reserve(lease, name, 6 * MIB, 10 * MIB)
            store.moved(name, f"host-{number - 1}", f"host-{number}", number)
            with pytest.raises(ClaimTaken):
                store.claim("container", name, "moves too")
            assert len([r for r in store.overview().reservations if r.target == name]) == 1
    found = store.generation(name)
    assert found is not None
    assert found.number == 11
