"""What every tracker of written pages tells, and how it is asked.

The rule that a copy of a container's memory is built on: a page of `Final.present` that is not in
`Final.written` has been in the `runs` of a round for this pid, and was not written after that
round's scan. Whoever reads the pages of each round after `round` returned, under their addresses,
and those of `written` at the end, has the memory of the frozen process; a page that was never read
and is not `present` is zero.

What is reported may be gone, or belong to another program, when it is read: a read that fails
means nothing, and a page that was read wrongly is reported again, or is not `present` at the end.

All arrays are of shape (n, 2), uint64: runs [start, end) in bytes, page-aligned, ascending.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Written:
    """One process in one round: what has to be sent."""

    pid: int
    """On this host."""
    inner_pid: int
    """In the pid namespace of the container's init: CRIU's pid in the images."""
    runs: NDArray[np.uint64]
    """Pages written since the round before, or all of a new process; none that is zero."""


@dataclass(frozen=True, eq=False)
class Final:
    """One process, all of its tasks frozen."""

    pid: int
    inner_pid: int
    regions: NDArray[np.uint64]
    """What the tracker vouches for, whole mappings: CRIU may take them for empty."""
    present: NDArray[np.uint64]
    """The pages in `regions` that exist and are not the zero page; all else there is zero."""
    written: NDArray[np.uint64]
    """The part of `present` that no round has told of since its last write."""


class Tracker(Protocol):
    """A source of written pages. All methods are called from one thread at a time."""

    name: str
    untracked: dict[int, str]
    """By host pid, why CRIU has to dump all of a process; as of the last `round` or `final`."""

    def round(self) -> list[Written]:
        """Collect what was written since the round before, and begin anew; the container runs."""
        ...

    def final(self) -> list[Final]:
        """The state of every tracked process; the container is frozen, and stays so."""
        ...

    def close(self) -> None:
        """Let all processes run on as if never tracked; safe to repeat."""
        ...
