"""The solver alone: searches that end, chains of ejections, balance."""

from __future__ import annotations

import random
import time

import pytest

from migrate.evacuate.planning import packing
from migrate.evacuate.planning.packing import Bin, Item, pack


def test_a_chain_of_two_ejections(monkeypatch: pytest.MonkeyPatch) -> None:
    """x only fits bin 0, whose item must go to bin 1, whose item must go to bin 2."""
    monkeypatch.setattr(packing, "EXACT_ITEMS", 0)
    items = [
        Item(5, 0, rank=0, options=(0, 1)),
        Item(4, 0, rank=0, options=(1, 2)),
        Item(6, 0, rank=1, options=(0,)),
    ]
    bins = [Bin(6, 0), Bin(5, 0), Bin(4, 0)]
    assert pack(items, bins) == [1, 2, 0]
    monkeypatch.setattr(packing, "EJECTION_DEPTH", 0)
    assert pack(items, bins)[2] is None, "without chains it stays out: the case is a real one"


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
