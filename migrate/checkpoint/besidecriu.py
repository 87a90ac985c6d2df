"""What a lazy restore takes beside CRIU, done while CRIU does something else.

CRIU makes namespaces and mounts before it looks at any image of memory: meanwhile those are made
fit (`pagemap_images`), and the page store is looked at (`eager`). When all tasks have their memory,
and wait in CRIU's restorer, it stops them one after the other: meanwhile eager pages are written.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from migrate.checkpoint.digests import by_inner_pid
from migrate.checkpoint.eager import EagerPages
from migrate.criu import pagemap_images
from migrate.errors import MigrateError
from migrate.kernel.threads import Task


class BesideCriu:
    """The work for one restore; it begins at once."""

    def __init__(self, images: Path, store: Path) -> None:
        """`images`: CRIU's, which are changed; `store`: the page store, as it has arrived."""
        self._preparing = Task("lazy-images", functools.partial(_prepare, images, store))
        self._writing: Task[None] | None = None
        self._eager: EagerPages | None = None

    def prepared(self) -> None:
        """CRIU is about to read the images; raises ImageBad, OSError."""
        self._eager = self._preparing.result()

    def begin_to_write(self, pids: list[int], init: int) -> None:
        """All processes have their memory, none runs its own code; `init`: the first one."""
        if self._eager and self._eager.pids():
            work = functools.partial(_write, self._eager, pids, init)
            self._writing = Task("eager-pages", work)

    def written(self) -> None:
        """Wait for it; raises ImageBad."""
        if self._writing:
            self._writing.result()

    def close(self) -> None:
        """Whatever has become of the restore; safe to repeat."""
        if self._writing:
            self._writing.join()
        with contextlib.suppress(MigrateError, OSError):  # told by `prepared`, or of no interest
            self._preparing.result().close()


def _prepare(images: Path, store: Path) -> EagerPages:
    pagemap_images.prepare_lazy(images)
    return EagerPages(store)


def _write(eager: EagerPages, pids: list[int], init: int) -> None:
    eager.write(by_inner_pid(pids, init))
