"""Where a target keeps memory that has arrived and is not filled in yet: a tmpfs for each move.

A page's offset in its process's file is its address, which only a tmpfs's files are long enough
for; and what is in it is in memory, not on a disk.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from migrate.kernel import mounts

DIRECTORY = "pages"
PRESENT = ".present"
"""Ending of the file beside a process's pages: which pages there are; uint64 pairs [start, end)."""


def make(root: Path) -> Path:
    """Mount the store beneath a move's directory for data; raises OSError."""
    place = root / DIRECTORY
    place.mkdir(mode=0o700)
    hardened = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    mounts.mount("migrate-pages", place, "tmpfs", hardened, "mode=700,size=100%")
    return place


def give_up(root: Path) -> None:
    """Take its name away: it goes when the last process that has a file of it open has ended."""
    try:
        mounts.unmount(root / DIRECTORY, mounts.MNT_DETACH)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
    with contextlib.suppress(OSError):
        (root / DIRECTORY).rmdir()
