"""Root file systems: layers and what a container wrote, joined by one of several drivers.

A driver keeps a container's own files in one directory. Whatever it is, it takes what has come from
elsewhere (a checkpoint, another host) as `upper`, a layer in overlay form, and gives back a layer
tar: so a container can go from a host with one driver to a host with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from migrate.images.diff import Staged
    from migrate.images.idmapped import IdMap

UPPER, WORK, TREE = "upper", "work", "tree"
"""Names in the directory of a container's own files; which of them there are says the driver."""
ROOT, STAMP = "root", "stamp"
"""In `tree`: the whole file system, and since when what is changed there is the container's."""


class Snapshot(Protocol):
    """A container's root file system."""

    @property
    def mount_point(self) -> Path:
        """Where it is to be seen."""

    @property
    def own(self) -> Path:
        """The directory that holds what the container wrote (and maybe more)."""

    def prepare(self) -> None:
        """Make what takes long and needs the layers alone; raises OSError, DiskFull."""

    def mount(self, ids: IdMap | None = None) -> None:
        """Make what is missing and make it visible, with `ids` to a user namespace.

        Raises SnapshotFailed, DiskFull.
        """

    def unmount(self, *, lazy: bool = False) -> None:
        """Take it away again; harmless if it isn't there. Raises SnapshotFailed."""

    def write_diff(self, out: BinaryIO, staged: Staged | None = None) -> str:
        """What differs from the layers, as an OCI layer tar; returns its diff id."""


class SnapshotDriver(Protocol):
    """A way to join layers and what a container writes."""

    name: str

    def works(self, directory: Path) -> bool:
        """Whether this host can do it with files in `directory` (tried for real)."""

    def snapshot(
        self, lower: Sequence[Path], directory: Path, mount_point: Path, cache: Path | None = None
    ) -> Snapshot:
        """A snapshot of these layers (top first) that keeps its own files in `directory`.

        `cache`: a directory for what several containers of the same layers can share.
        """
