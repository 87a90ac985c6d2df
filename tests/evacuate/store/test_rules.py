"""The rules alone, over every order in which things can be asked for."""

from __future__ import annotations

import contextlib
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from migrate.errors import MigrateError
from migrate.evacuate.store import rules
from migrate.evacuate.store.errors import RoomTaken
from migrate.evacuate.store.model import (
    Claim,
    Generation,
    Reservation,
    claim_key,
    decode,
    decode_all,
    encode,
)

HOSTS = ("alpha", "beta", "gamma")
LEASES = ("one", "two", "three")
CAPACITY = 100


@given(
    some.lists(
        some.one_of(
            some.tuples(some.just("claim"), some.sampled_from(HOSTS), some.sampled_from(LEASES)),
            some.tuples(
                some.just("reserve"), some.sampled_from(HOSTS), some.sampled_from(LEASES),
                some.integers(0, 120),
            ),
            some.tuples(some.just("release"), some.sampled_from(LEASES)),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_no_order_of_wishes_overcommits_or_empties_a_target(wishes):
    kept: dict[str, bytes] = {}
    for lease in LEASES:
        kept |= rules.decide_claim(kept, _container(lease))
    for wish in wishes:
        with contextlib.suppress(MigrateError):
            writes = _asked(kept, wish)
            kept |= writes
            if wish[0] != "release":
                assert _asked(kept, wish) == {}  # asked again, it is done already
        for host in HOSTS:
            there = decode_all(kept, rules.reservations_key(host), Reservation)
            assert sum(part.memory for part in there) <= CAPACITY
            if (held := kept.get(claim_key("host", host))) is not None:
                # Who has claimed a host may bring containers back to it, and nobody else.
                holder = decode(claim_key("host", host), held, Claim).lease
                assert {part.lease for part in there} <= {holder}


def test_room_is_given_back_whatever_others_reckon_with():
    """Capacity is what each has seen free; a later one may have seen more, and reserved it."""
    claims = {name: _container(name) for name in ("one", "two")}
    kept: dict[str, bytes] = {}
    for claim in claims.values():
        kept |= rules.decide_claim(kept, claim)

    def reserve(lease: str, memory: int, capacity: int) -> None:
        wanted = Reservation("beta", memory, lease, "moves", 1.0, lease)
        kept.update(rules.decide_reservation(kept, wanted, claims[lease], capacity))

    reserve("one", 60, 100)
    reserve("two", 90, 150)
    with pytest.raises(RoomTaken):
        reserve("one", 61, 100)
    reserve("one", 40, 100)
    there = decode_all(kept, rules.reservations_key("beta"), Reservation)
    assert sorted(part.memory for part in there) == [40, 90]


def _asked(kept: dict[str, bytes], wish: tuple) -> dict[str, bytes]:
    if wish[0] == "claim":
        _, host, lease = wish
        return rules.decide_claim(kept, Claim("host", host, lease, "empties", 1.0, lease))
    if wish[0] == "reserve":
        _, host, lease, memory = wish
        wanted = Reservation(host, memory, lease, "moves", 1.0, lease)
        return rules.decide_reservation(kept, wanted, _container(lease), CAPACITY)
    _, lease = wish
    for key in [key for key, data in kept.items() if msgspec.json.decode(data)["lease"] == lease]:
        del kept[key]
    return rules.decide_claim(kept, _container(lease))


def _container(lease: str) -> Claim:
    return Claim("container", f"of {lease}", lease, "moves", 1.0, lease)


@given(
    some.lists(
        some.tuples(some.sampled_from(HOSTS), some.sampled_from(HOSTS), some.integers(0, 6)),
        max_size=30,
    )
)
def test_no_order_of_moves_goes_back_or_takes_one_generation_twice(moves):
    kept: dict[str, bytes] = {}
    recorded: list[Generation] = []
    for source, target, number in moves:
        done = Generation("web", number, target, source, 1.0)
        with contextlib.suppress(MigrateError):
            writes = rules.decide_move(kept, done)
            kept |= writes
            if writes:
                recorded.append(done)
    numbers = [done.number for done in recorded]
    assert numbers == sorted(set(numbers))
    for earlier, later in itertools.pairwise(recorded):
        if later.number == earlier.number + 1:
            assert later.from_host == earlier.host


@given(some.binary(max_size=300) | some.from_regex(r"\{.{0,80}\}").map(str.encode))
def test_no_bytes_make_more_than_an_error(data: bytes):
    for kind in (Claim, Reservation, Generation):
        with contextlib.suppress(MigrateError):
            decode("claims/host/alpha", data, kind)


def test_what_is_written_is_read_back():
    claim = Claim("host", "a/ü %", "somebody", "empties", 1e9, "7", 30.0, 3)
    assert decode(claim.key, encode(claim), Claim) == claim
    later = msgspec.json.encode(msgspec.to_builtins(claim) | {"field": "of a later version"})
    assert decode(claim.key, later, Claim) == claim
