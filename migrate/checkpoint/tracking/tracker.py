"""What every tracker of written pages tells, and how it is asked.

The rule that a copy of a container's memory is built on: a page of `Final.present` that is not in
`Final.written` has been in the `runs` of a round for this pid, and was not written after that
round's scan. Whoever reads the pages of each round after `round` returned, under their addresses,
and those of `written` at the end, has the memory of the frozen process; a page that was never read
and is not `present` is zero. The same goes for `eager`; what is not among it is the file's.

What is reported may be gone, or belong to another program, when it is read: a read that fails
means nothing, and a page that was read wrongly is reported again, or is not `present` at the end.

All arrays are of shape (n, 2), uint64: runs [start, end) in bytes, page-aligned, ascending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from migrate.kernel.pagemap import merge_runs

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
    eager: NDArray[np.uint64]
    """The like of private mappings of files: pages that no longer are the file's."""

    @property
    def all_runs(self) -> NDArray[np.uint64]:
        """Both."""
        return _both(self.runs, self.eager)


@dataclass(frozen=True, eq=False)
class Final:
    """One process, all of its tasks frozen."""

    pid: int
    inner_pid: int
    regions: NDArray[np.uint64]
    """What the tracker vouches for, whole mappings: CRIU may take them for empty."""
    present: NDArray[np.uint64]
    """The anonymous pages in `regions` that exist and are not the zero page; others are zero."""
    written: NDArray[np.uint64]
    """The part of `present` that no round has told of since its last write."""
    eager: NDArray[np.uint64]
    """The pages in private mappings of files that no longer are the file's. They can't be
    restored lazily, and are written over the copy before it runs (`checkpoint.eager`)."""
    eager_written: NDArray[np.uint64]
    """The part of `eager` that no round has told of since its last write."""

    @property
    def all_written(self) -> NDArray[np.uint64]:
        """Of both kinds."""
        return _both(self.written, self.eager_written)


def nobody(_final: Final) -> None:
    """Who waits for the end of all."""


class Tracker(Protocol):
    """A source of written pages. All methods are called from one thread at a time."""

    name: str
    untracked: dict[int, str]
    """By host pid, why CRIU has to dump all of a process; as of the last `round` or `final`."""

    def round(self) -> list[Written]:
        """Collect what was written since the round before, and begin anew; the container runs."""
        ...

    def final(self, tell: Callable[[Final], None] = nobody) -> list[Final]:
        """The state of every tracked process; the container is frozen, and stays so.

        Each is told to `tell` when it is known: by then nothing more of that process is looked at.
        """
        ...

    def close(self) -> None:
        """Let all processes run on as if never tracked; safe to repeat."""
        ...


def _both(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The runs of both, which share no page, in order."""
    import numpy as np

    if not len(others):
        return some
    runs = np.concatenate((some, others))
    return merge_runs(runs[np.argsort(runs[:, 0])])
