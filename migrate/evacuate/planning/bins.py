"""Items in bins: who is where, what is left, which bin is the emptiest or the tightest for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
