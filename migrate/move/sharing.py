"""What a container would need if its processes shared no memory copy-on-write.

Memory that is filled in after the thaw comes page by page into each process: a page that a parent
and its children have in common becomes one for each of them. (CRIU's own restore keeps it shared,
since there the children inherit what the parent has.)
"""

from __future__ import annotations

from dataclasses import dataclass

from migrate.kernel.maps import anonymous_memory
from migrate.runtime.cgroups.group import ControlGroup

LITTLE = 64 << 20
"""Bytes, and a quarter of the container's memory: it may need more by that much, unasked."""


@dataclass(frozen=True)
class Apart:
    """Anonymous memory in bytes: of all processes if each had its own, and how much more that is.

    `limit` is the container's, 0 for none.
    """

    needed: int = 0
    more: int = 0
    limit: int = 0

    def beyond_limit(self) -> str:
        """Why the container can't have it apart, "" when it can."""
        if not self.limit or not self.more or self.needed <= self.limit:
            return ""
        return (
            f"its processes share memory copy-on-write, of which each would get a copy of its own: "
            f"{self.needed >> 20} MiB, but its limit is {self.limit >> 20} MiB"
        )

    def too_much(self, memory: int) -> str:
        """Why it should not be apart unasked, of `memory` bytes in use; "" when it may."""
        if why := self.beyond_limit():
            return why
        if self.more > max(LITTLE, memory // 4):
            return f"its processes share {self.more >> 20} MiB: each would get a copy of its own"
        return ""


def apart(group: ControlGroup, limit: int) -> Apart:
    """Of the processes of a control group; those that end meanwhile don't count."""
    needed = more = 0
    for pid in group.pids():
        try:
            own, shared = anonymous_memory(pid)
        except OSError:
            continue
        needed, more = needed + own, more + shared
    return Apart(needed, more, limit)
