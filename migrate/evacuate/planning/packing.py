"""Which item into which bin: an assignment of two sizes, with groups that must be apart.

The problem is a generalized assignment in two dimensions with conflicts, NP-hard. No library fits:
the packers on PyPI know one dimension and no conflicts, mknapsack (Martello and Toth's algorithms)
one dimension and needs a Fortran compiler, OR-tools and HiGHS solve it as an integer program, but
weigh 10 to 100 MB, and with 200,000 variables in no promised time. So, for each rank in turn: the
well-known greedy orders, the best of which counts; chains of ejections (an item makes room by going
elsewhere) for those left over; and, where there are few items, a branch and bound that is exact if
it ends within its budget. Every search is bounded by steps, never by time: the same input gives the
same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from migrate.evacuate.planning.bins import Bin, Item, Packing
from migrate.evacuate.planning.searching import BranchAndBound, Ejection, Steps

EJECTION_STEPS, EJECTION_STEPS_IN_ALL = 20_000, 400_000
"""Looks at a bin, for one item that is left over and for all of them."""
EXACT_ITEMS, EXACT_STEPS = 20, 60_000
BALANCE_STEPS = 200_000
LEAST_GAIN = 0.01
"""Of a bin's size: what makes less of a difference is not moved."""


def pack(items: Sequence[Item], bins: Sequence[Bin]) -> list[int | None]:
    """A bin for each item, None for those left over.

    As many as can be found of rank 0, then of rank 1 and so on; then as few as can be in bins that
    are worse for them; then evenly filled.
    """
    packing = Packing(items, bins)
    steps = Steps(EJECTION_STEPS_IN_ALL)
    for rank in sorted({item.rank for item in items}):
        _fill(packing, [i for i, item in enumerate(items) if item.rank == rank and item.options])
        _make_room(packing, rank, steps)
    if packing.missing() and sum(bool(item.options) for item in items) <= EXACT_ITEMS:
        BranchAndBound(packing, Steps(EXACT_STEPS)).improve()
    _better(packing, steps)
    _balance(packing)
    for index in sorted(packing.missing(), key=lambda i: (items[i].rank, packing.sizes[i], i)):
        # Others have moved since it was left over.
        at = packing.emptiest(items[index])
        if at is not None:
            packing.put(index, at)
    return packing.where


def _fill(packing: Packing, members: list[int]) -> None:
    """Place what one of the greedy orders finds room for: the one that places most."""
    size = packing.sizes
    largest = sorted(members, key=lambda i: (-size[i], i))
    smallest = sorted(members, key=lambda i: (size[i], i))
    choosiest = sorted(members, key=lambda i: (len(packing.items[i].options), -size[i], i))
    attempts: list[tuple[list[int], Callable[[Item], int | None]]] = [
        (largest, packing.emptiest), (largest, packing.tightest), (smallest, packing.tightest),
        (choosiest, packing.tightest),
    ]  # fmt: skip
    best: list[tuple[int, int]] = []
    for order, choose in attempts:
        placed: list[tuple[int, int]] = []
        for index in order:
            at = choose(packing.items[index])
            if at is not None:
                packing.put(index, at)
                placed.append((index, at))
        if len(placed) > len(best):
            best = placed
        for index, _ in placed:
            packing.take(index)
        if len(best) == len(members):
            break
    for index, at in best:
        packing.put(index, at)


def _make_room(packing: Packing, rank: int, steps: Steps) -> None:
    """Place what is left over of a rank by moving others from bin to bin."""
    left = [i for i in packing.missing() if packing.items[i].rank == rank]
    for index in sorted(left, key=lambda i: (packing.sizes[i], i)):
        _settle(packing, index, steps)


def _settle(packing: Packing, index: int, steps: Steps, *, better: bool = False) -> bool:
    """Find a place for an item within its share of the steps that are left."""
    share = Steps(min(EJECTION_STEPS, steps.left))
    steps.left -= share.left
    done = Ejection(packing, share, better=better).settle(index)
    steps.left += share.left
    return done


def _better(packing: Packing, steps: Steps) -> None:
    """Bring those that are in bins that are worse for them into others."""
    for index, item in enumerate(packing.items):
        at = packing.where[index]
        if at is not None and at in item.worse and len(item.worse) < len(item.options):
            packing.take(index)
            if not _settle(packing, index, steps, better=True):
                packing.put(index, at)


def _balance(packing: Packing) -> None:
    """Move items from the fullest bins while both bins of a move are then less full than it was."""
    steps = BALANCE_STEPS
    settled: set[int] = set()
    while len(settled) < len(packing.inside) and steps > 0:
        fullest = min(
            (at for at in range(len(packing.inside)) if at not in settled),
            key=lambda at: (packing.left_at(at), at),
        )
        steps -= sum(len(packing.items[i].options) for i in packing.inside[fullest]) + 1
        if _relieve(packing, fullest):
            settled.clear()
        else:
            settled.add(fullest)


def _relieve(packing: Packing, fullest: int) -> bool:
    """Move the one item out of the bin that leaves most free where it then is."""
    now = packing.left_at(fullest)
    best: tuple[float, int, int] | None = None
    for index in packing.inside[fullest]:
        item = packing.items[index]
        for at in item.options:
            if at == fullest or (at in item.worse and fullest not in item.worse):
                continue
            if packing.fits(item, at):
                left = packing.left_with(item, at)
                if left > now + LEAST_GAIN and (best is None or left > best[0]):
                    best = left, index, at
    if best is None:
        return False
    packing.take(best[1])
    packing.put(best[1], best[2])
    return True
