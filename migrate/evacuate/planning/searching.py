"""Searches for a place for what greedy orders leave over: chains of ejections, and an exact one.

Both are bounded by steps, not by time, so that the same input gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from migrate.evacuate.planning.bins import Item, Packing

DEPTH = 2
"""How many may have to move to make room for one."""


@dataclass
class Steps:
    """How many looks at a bin are left."""

    left: int


class Ejection:
    """Places one item; at need one that is in its way goes elsewhere, and so on, DEPTH times.

    With `better` nothing comes into a bin that is worse for it.
    """

    def __init__(self, packing: Packing, steps: Steps, *, better: bool = False) -> None:
        self._packing = packing
        self._steps = steps
        self._better = better

    def settle(
        self, index: int, depth: int = DEPTH, closed: frozenset[int] = frozenset()
    ) -> bool:  # fmt: skip
        """Put an item that has no place into a bin that is not closed. False: nothing changed."""
        item = self._packing.items[index]
        options = [
            at for at in item.options
            if at not in closed and not (self._better and at in item.worse)
        ]  # fmt: skip
        self._steps.left -= len(options)
        for at in options:
            if self._packing.fits(item, at):
                self._packing.put(index, at)
                return True
        for at in options if depth else ():
            if self._clear(item, at, depth, closed):
                self._packing.put(index, at)
                return True
        return False

    def _clear(self, item: Item, at: int, depth: int, closed: frozenset[int]) -> bool:
        """Make the item fit into a bin by settling one of those inside elsewhere.

        The bin is closed meanwhile: none of the chain may take the room that was made in it.
        """
        for other in list(self._packing.inside[at]):
            if self._steps.left <= 0:
                return False
            self._steps.left -= 1
            self._packing.take(other)
            if self._packing.fits(item, at) and self.settle(other, depth - 1, closed | {at}):
                return True
            self._packing.put(other, at)
        return False


class BranchAndBound:
    """All assignments of all items that have options, cut where no better one can follow.

    Better is: fewer left over of rank 0, then of rank 1 and so on.
    """

    def __init__(self, packing: Packing, steps: Steps) -> None:
        self._packing = packing
        self._steps = steps
        items = packing.items
        self._order = sorted(
            (i for i, item in enumerate(items) if item.options),
            key=lambda i: (items[i].rank, len(items[i].options), -packing.sizes[i], i),
        )
        self._ranks = sorted({items[i].rank for i in self._order})
        self._refused = [0] * len(self._ranks)
        self._best = list(packing.where)
        self._fewest = [
            sum(items[i].rank == rank and packing.where[i] is None for i in self._order)
            for rank in self._ranks
        ]

    def improve(self) -> None:
        """Leave the packing as the best assignment that was found, or as it was."""
        for index in self._order:
            if self._packing.where[index] is not None:
                self._packing.take(index)
        self._descend(0)
        for index, at in enumerate(self._best):
            if at is not None:
                self._packing.put(index, at)

    def _descend(self, depth: int) -> None:
        self._steps.left -= 1
        if self._steps.left < 0 or self._refused >= self._fewest:
            return
        if depth == len(self._order):
            self._best, self._fewest = list(self._packing.where), list(self._refused)
            return
        index = self._order[depth]
        item = self._packing.items[index]
        for at in item.options:
            if self._packing.fits(item, at):
                self._packing.put(index, at)
                self._descend(depth + 1)
                self._packing.take(index)
        rank = self._ranks.index(item.rank)
        self._refused[rank] += 1
        self._descend(depth + 1)
        self._refused[rank] -= 1
