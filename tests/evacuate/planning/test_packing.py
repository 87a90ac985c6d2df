"""The solver alone: searches that end, chains of ejections, balance."""

from __future__ import annotations

import random
import time

import pytest

from migrate.evacuate.planning import packing
from migrate.evacuate.planning.bins import Bin, Item, Packing
from migrate.evacuate.planning.packing import pack
from migrate.evacuate.planning.searching import BranchAndBound, Ejection, Steps


def test_a_chain_of_two_ejections() -> None:
    """The last only fits bin 0, whose item must go to bin 1, whose item must go to bin 2."""
    items = [Item(5, 0, options=(0, 1)), Item(4, 0, options=(1, 2)), Item(6, 0, options=(0,))]
    packed = Packing(items, [Bin(6, 0), Bin(5, 0), Bin(4, 0)])
    packed.put(0, 0)
    packed.put(1, 1)
    assert not Ejection(packed, Steps(100)).settle(2, depth=1)
    assert packed.where == [0, 1, None], "a search that finds nothing changes nothing"
    assert not Ejection(packed, Steps(3)).settle(2)
    assert packed.where == [0, 1, None]
    assert Ejection(packed, Steps(100)).settle(2)
    assert packed.where == [1, 2, 0]


def test_nobody_is_ejected_into_a_worse_bin_for_a_better_place() -> None:
    items = [
        Item(5, 0, options=(0, 1), worse=frozenset({1})),
        Item(5, 0, options=(0, 1), worse=frozenset({1})),
    ]
    packed = Packing(items, [Bin(5, 0), Bin(9, 0)])
    packed.put(0, 0)
    assert not Ejection(packed, Steps(100), better=True).settle(1)
    assert packed.where == [0, None]


def test_the_exact_search_finds_what_the_orders_do_not() -> None:
    """6, 5, 5, 4, 3, 3 fill 13 and 13 in one way only; it keeps what it has if it finds no more."""
    items = [Item(size, 0, options=(0, 1)) for size in (6, 5, 5, 4, 3, 3)]
    packed = Packing(items, [Bin(13, 0), Bin(13, 0)])
    for index, at in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 1)):
        if packed.fits(items[index], at):
            packed.put(index, at)
    before = list(packed.where)
    BranchAndBound(packed, Steps(3)).improve()
    assert packed.where == before
    BranchAndBound(packed, Steps(10_000)).improve()
    assert None not in packed.where


def test_worse_bins_only_where_no_other_is_left() -> None:
    items = [Item(4, 0, options=(0, 1), worse=frozenset({1})) for _ in range(3)]
    assert sorted(pack(items, [Bin(8, 0), Bin(100, 0)])) == [0, 0, 1]  # type: ignore[type-var]


def test_it_is_levelled() -> None:
    """What an exact search left unevenly is spread, as far as rooms allow."""
    items = [Item(10, 0, options=(0, 1, 2)) for _ in range(30)]
    found = pack(items, [Bin(1000, 0)] * 3)
    assert sorted(found.count(at) for at in range(3)) == [10, 10, 10]


def test_nothing_to_do() -> None:
    assert pack([], []) == []
    assert pack([Item(1, 1)], [Bin(9, 9)]) == [None]
    assert pack([Item(0, 0, options=(0,))], [Bin(0, 0)]) == [0]


@pytest.mark.parametrize("count", [20, 400])
def test_searches_end(count: int) -> None:
    """Sizes that leave a gap everywhere: the searches find no end by themselves."""
    chance = random.Random(3)
    items = [Item(chance.randrange(50, 60), 0, options=tuple(range(9))) for _ in range(count)]
    bins = [Bin(55 * count // 10, 0) for _ in range(9)]
    begun = time.process_time()
    found = pack(items, bins)
    assert time.process_time() - begun < 10
    assert count * 0.8 <= sum(at is not None for at in found) < count
    for at, bin_ in enumerate(bins):
        inside = [item for item, where in zip(items, found, strict=True) if where == at]
        assert sum(item.memory for item in inside) <= bin_.memory


def test_two_change_places_so_that_neither_is_in_a_worse_bin() -> None:
    items = [
        Item(7, 0, rank=1, options=(0, 1), worse=frozenset({1})),
        Item(7, 0, rank=0, options=(0, 1)),
    ]
    assert pack(items, [Bin(7, 0), Bin(9, 0)]) == [0, 1]


def choosy_case(chance: random.Random) -> tuple[list[Item], list[Bin]]:
    """Too many items for the exact search, each with bins of its own to choose from."""
    items = []
    for _ in range(30):
        options = tuple(sorted(chance.sample(range(3), chance.randrange(1, 4))))
        worse = frozenset(at for at in options if chance.random() < 0.3)
        items.append(Item(chance.randrange(1, 9), 0, chance.randrange(2), "", options, worse))
    total = sum(item.memory for item in items)
    return items, [Bin(int(total / 3 * chance.uniform(0.6, 1.3)), 0) for _ in range(3)]


def test_ejections_place_what_the_orders_leave_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing that would fit is ever left over."""
    chance = random.Random(11)
    cases = [choosy_case(chance) for _ in range(100)]

    def placed() -> int:
        total = 0
        for items, bins in cases:
            found = pack(items, bins)
            total += sum(at is not None for at in found)
            packed = Packing(items, bins)
            for index, at in enumerate(found):
                if at is not None:
                    assert packed.fits(items[index], at)
                    packed.put(index, at)
            assert all(packed.emptiest(items[index]) is None for index in packed.missing())
        return total

    with_them = placed()
    monkeypatch.setattr(packing, "_make_room", lambda *_: None)
    assert with_them > placed() + 10
