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
from dataclasses import dataclass

EJECTION_DEPTH = 2
EJECTION_STEPS, EJECTION_STEPS_IN_ALL = 20_000, 400_000
"""Looks at a bin, for one item that is left over and for all of them."""
EXACT_ITEMS, EXACT_STEPS = 20, 60_000
BALANCE_STEPS = 200_000
LEAST_GAIN = 0.01
"""Of a bin's size: what makes less of a difference is not moved."""


@dataclass(frozen=True)
class Item:
    """What is to be placed. `rank` 0 is the most important; `options` are bins, ascending."""

    memory: int
    disk: int
    rank: int = 0
    group: str = ""
    options: tuple[int, ...] = ()
    worse: frozenset[int] = frozenset()  # those of the options to avoid where another one is free


@dataclass(frozen=True)
class Bin:
    """What there is to give."""

    memory: int
    disk: int


class Packing:
    """Who is where, and what is left. Bins and items are known by their index."""

    def __init__(self, items: Sequence[Item], bins: Sequence[Bin]) -> None:
        self.items = items
        self.where: list[int | None] = [None] * len(items)
        self.inside: list[dict[int, None]] = [{} for _ in bins]  # a dict keeps the order
        self._memory = [b.memory for b in bins]
        self._disk = [b.disk for b in bins]
        self._whole_memory = [max(b.memory, 1) for b in bins]
        self._whole_disk = [max(b.disk, 1) for b in bins]
        self._groups: list[set[str]] = [set() for _ in bins]
        memory, disk = sum(self._whole_memory) or 1, sum(self._whole_disk) or 1
        self.sizes = [max(item.memory / memory, item.disk / disk) for item in items]
        """Of each item the larger of its shares in what all bins have."""

    def fits(self, item: Item, at: int) -> bool:
        """Whether the item, which may go there, finds room and none of its group."""
        return (
            item.memory <= self._memory[at]
            and item.disk <= self._disk[at]
            and not (item.group and item.group in self._groups[at])
        )

    def put(self, index: int, at: int) -> None:
        """Place an item that fits."""
        item = self.items[index]
        self.where[index] = at
        self.inside[at][index] = None
        self._memory[at] -= item.memory
        self._disk[at] -= item.disk
        if item.group:
            self._groups[at].add(item.group)

    def take(self, index: int) -> int:
        """Take a placed item out; returns the bin in which it was."""
        item, at = self.items[index], self.where[index]
        assert at is not None
        self.where[index] = None
        del self.inside[at][index]
        self._memory[at] += item.memory
        self._disk[at] += item.disk
        self._groups[at].discard(item.group)
        return at

    def left_with(self, item: Item, at: int) -> float:
        """The fraction of the scarcer of memory and disk that stays free with the item there."""
        return min(
            (self._memory[at] - item.memory) / self._whole_memory[at],
            (self._disk[at] - item.disk) / self._whole_disk[at],
        )

    def left_at(self, at: int) -> float:
        """The fraction of the scarcer of memory and disk that is free."""
        return min(self._memory[at] / self._whole_memory[at], self._disk[at] / self._whole_disk[at])

    def missing(self) -> list[int]:
        """The items that could go somewhere and have no place."""
        return [i for i, item in enumerate(self.items) if item.options and self.where[i] is None]

    def emptiest(self, item: Item) -> int | None:
        """The bin that has the largest fraction left with the item in it; None if it fits none."""
        found = [
            (at in item.worse, -self.left_with(item, at), len(self.inside[at]), at)
            for at in item.options if self.fits(item, at)
        ]  # fmt: skip
        return min(found)[-1] if found else None

    def tightest(self, item: Item) -> int | None:
        """The bin that has the smallest fraction left with the item in it; None if it fits none."""
        found = [
            (at in item.worse, self.left_with(item, at), at)
            for at in item.options if self.fits(item, at)
        ]  # fmt: skip
        return min(found)[-1] if found else None


def pack(items: Sequence[Item], bins: Sequence[Bin]) -> list[int | None]:
    """A bin for each item, None for those left over.

    As many as can be found of rank 0, then of rank 1 and so on; then as few as can be in bins that
    are worse for them; then evenly filled.
    """
    packing = Packing(items, bins)
    budget = [EJECTION_STEPS_IN_ALL]
    for rank in sorted({item.rank for item in items}):
        _fill(packing, [i for i, item in enumerate(items) if item.rank == rank and item.options])
        _make_room(packing, rank, budget)
    missing = packing.missing()
    if missing and sum(1 for item in items if item.options) <= EXACT_ITEMS:
        _search(packing)
    _better(packing, budget)
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


def _make_room(packing: Packing, rank: int, budget: list[int]) -> None:
    """Place what is left over of a rank by moving others from bin to bin."""
    left = [i for i in packing.missing() if packing.items[i].rank == rank]
    for index in sorted(left, key=lambda i: (packing.sizes[i], i)):
        _settle_within(packing, index, budget)


def _settle_within(
    packing: Packing, index: int, budget: list[int], *, better: bool = False
) -> bool:
    steps = [min(EJECTION_STEPS, budget[0])]
    before = steps[0]
    done = _settle(packing, index, frozenset(), EJECTION_DEPTH, steps, better=better)
    budget[0] -= before - steps[0]
    return done


def _settle(
    packing: Packing, index: int, closed: frozenset[int], depth: int, steps: list[int], *,
    better: bool,
) -> bool:  # fmt: skip
    """Put an item that has no place into a bin that is not closed; at need clear one for it.

    With `better` nothing comes into a bin that is worse for it. False: nothing has changed.
    """
    item = packing.items[index]
    options = [at for at in item.options if at not in closed and not (better and at in item.worse)]
    for at in options:
        steps[0] -= 1
        if packing.fits(item, at):
            packing.put(index, at)
            return True
    for at in options if depth else ():
        if _clear(packing, item, at, closed, depth, steps, better=better):
            packing.put(index, at)
            return True
    return False


def _clear(
    packing: Packing, item: Item, at: int, closed: frozenset[int], depth: int, steps: list[int],
    *, better: bool,
) -> bool:  # fmt: skip
    """Make the item fit into a bin by settling one of those inside elsewhere.

    The bin is closed meanwhile: none of the chain may take the room that was made in it.
    """
    for other in list(packing.inside[at]):
        if steps[0] <= 0:
            return False
        steps[0] -= 1
        packing.take(other)
        if packing.fits(item, at) and _settle(
            packing, other, closed | {at}, depth - 1, steps, better=better
        ):
            return True
        packing.put(other, at)
    return False


def _search(packing: Packing) -> None:
    """Branch and bound over all assignments; keeps the best that it finds within its budget."""
    items = packing.items
    order = sorted(
        (i for i, item in enumerate(items) if item.options),
        key=lambda i: (items[i].rank, len(items[i].options), -packing.sizes[i], i),
    )
    ranks = sorted({items[i].rank for i in order})
    best = list(packing.where)
    lowest = [sum(best[i] is None for i in order if items[i].rank == rank) for rank in ranks]
    refused = [0] * len(ranks)
    steps = EXACT_STEPS
    for index in order:
        if packing.where[index] is not None:
            packing.take(index)

    def descend(depth: int) -> None:
        nonlocal best, lowest, steps
        steps -= 1
        if steps < 0 or refused >= lowest:
            return
        if depth == len(order):
            best, lowest = list(packing.where), list(refused)
            return
        index = order[depth]
        for at in items[index].options:
            if packing.fits(items[index], at):
                packing.put(index, at)
                descend(depth + 1)
                packing.take(index)
        place = ranks.index(items[index].rank)
        refused[place] += 1
        descend(depth + 1)
        refused[place] -= 1

    descend(0)
    for index, where in enumerate(best):
        if where is not None:
            packing.put(index, where)


def _better(packing: Packing, budget: list[int]) -> None:
    """Bring those that are in bins that are worse for them into others."""
    for index, item in enumerate(packing.items):
        at = packing.where[index]
        if at is not None and at in item.worse and len(item.worse) < len(item.options):
            packing.take(index)
            if not _settle_within(packing, index, budget, better=True):
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
