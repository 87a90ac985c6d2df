"""Descriptors and memory set aside, so that what has begun can be undone when there are no more."""

from __future__ import annotations

import contextlib
import mmap
import os

DESCRIPTORS = 32
MEMORY = 32 << 20  # bytes of the address space; nothing is in them


class Reserve:
    """Held from when it is made until `give_up`. What could not be had is not held."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._memory: mmap.mmap | None = None
        with contextlib.suppress(OSError):
            self._memory = mmap.mmap(-1, MEMORY)
        with contextlib.suppress(OSError):
            for _ in range(DESCRIPTORS):
                self._descriptors.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))

    def give_up(self) -> None:
        """It is needed now; safe to repeat."""
        if self._memory is not None:
            self._memory.close()
        while self._descriptors:
            os.close(self._descriptors.pop())
