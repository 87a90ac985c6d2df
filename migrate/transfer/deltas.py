"""Pages that were sent before, so that the next time only what differs has to travel.

A page that is written round after round often changes by a few bytes. What the other side holds of
such *hot* pages is kept here, in a room of bounded size; a page is then sent XORed with it, which
compresses to little.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from migrate.transfer.frames import PAGE

if TYPE_CHECKING:
    import numpy

ROOM = 64 * 1024 * 1024
"""Bytes of pages that are kept."""
USUAL_COST = 1.5e-9
"""Seconds a byte, of keeping a page and of making a delta, as long as nothing was measured."""
FAR_COST = 1.7e-9
"""Seconds a byte of a delta at the receiver, which XORs by Python's integers (receiver.py)."""
GAIN = 2.0
"""Times what it costs; a link that is faster than some 300 MB/s gets pages as they are."""
_NAME_SHIFT = 56  # above every address (migrate.transfer.pages.ADDRESS_SPACE)


class SentPages:
    """What the other side holds of pages sent in earlier rounds; for several threads.

    Those sent longest ago make room for others, but not before they have missed a whole round: a
    set of pages that is larger than the room, sent in the same order each time, would otherwise be
    thrown out just before it comes again.
    """

    def __init__(self, room: int = ROOM) -> None:
        """`room` in bytes; it is taken as it is needed."""
        self._most = room // PAGE
        self._pages: numpy.ndarray | None = None
        self._slots: OrderedDict[int, int] = OrderedDict()  # the longest ago first
        self._rounds = [0] * self._most
        self._free = list(range(self._most))
        self._names: dict[bytes, int] = {}
        self._round = 0
        self._is_new_round = False
        self._lock = threading.Lock()
        self._work, self._link = _Speed(USUAL_COST), _Speed()

    def __len__(self) -> int:
        """Pages."""
        return len(self._slots)

    def end_round(self) -> None:
        """All that was sent is there; whatever comes now belongs to the next round."""
        self._is_new_round = True

    def pay(self) -> bool:
        """Whether the links are so slow that a byte saved is worth the work of both sides."""
        return self._link.seconds_a_byte > GAIN * (self._work.seconds_a_byte + FAR_COST)

    def took(self, count: int, seconds: float) -> None:
        """Keeping so many bytes, and finding what differs, took so long."""
        self._work.add(count, seconds)

    def link_took(self, count: int, seconds: float) -> None:
        """A link took so many bytes in that time."""
        self._link.add(count, seconds)

    def look(self, name: bytes, addresses: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Which of a file's pages are here, (n,) bool, and what these hold, (known, PAGE) uint8."""
        import numpy as np

        with self._lock:
            keys = self._keys(name, addresses)
            slots = np.array([self._slots.get(key, -1) for key in keys], dtype=np.int64)
            known = slots >= 0
            if self._pages is None:
                return known, np.empty((0, PAGE), dtype=np.uint8)
            return known, self._pages[slots[known]]

    def keep(self, name: bytes, addresses: numpy.ndarray, pages: numpy.ndarray) -> None:
        """What is sent now, (n, PAGE) uint8, replaces what was known; there may be no room."""
        import numpy as np

        with self._lock:
            if self._pages is None:
                self._pages = np.empty((self._most, PAGE), dtype=np.uint8)
            if self._is_new_round:
                self._is_new_round = False
                self._round += 1
            slots = np.array([self._slot(k) for k in self._keys(name, addresses)], dtype=np.int64)
            kept = slots >= 0
            self._pages[slots[kept]] = pages[kept]

    def forget(self, name: bytes, addresses: numpy.ndarray) -> None:
        """The other side holds something else now."""
        with self._lock:
            if self._slots:
                for key in self._keys(name, addresses):
                    if (slot := self._slots.pop(key, None)) is not None:
                        self._free.append(slot)

    def _keys(self, name: bytes, addresses: numpy.ndarray) -> list[int]:
        number = self._names.setdefault(name, len(self._names))
        return [number << _NAME_SHIFT | address for address in addresses.tolist()]

    def _slot(self, key: int) -> int:
        """The place for a page, -1 where there is none."""
        slot = self._slots.get(key, -1)
        if slot >= 0:
            self._slots.move_to_end(key)
        elif self._free:
            slot = self._slots[key] = self._free.pop()
        else:
            oldest = next(iter(self._slots), None)
            if oldest is None or self._rounds[self._slots[oldest]] >= self._round - 1:
                return -1
            slot = self._slots[key] = self._slots.pop(oldest)
        self._rounds[slot] = self._round
        return slot


class _Speed:
    """How long a byte takes, over all that several threads have measured."""

    def __init__(self, usual: float = 0.0) -> None:
        """`usual`: seconds a byte, as long as nothing was measured."""
        self._usual, self._bytes, self._seconds = usual, 0, 0.0
        self._lock = threading.Lock()

    def add(self, count: int, seconds: float) -> None:
        """So many bytes took so long."""
        with self._lock:
            self._bytes += count
            self._seconds += seconds

    @property
    def seconds_a_byte(self) -> float:
        return self._seconds / self._bytes if self._bytes else self._usual
