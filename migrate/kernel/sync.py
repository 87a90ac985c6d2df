"""Durability of whole trees: syncfs(2)."""

from __future__ import annotations

import os
from pathlib import Path

from migrate.kernel.libc import libc, oserror


def sync_file_system(directory: Path) -> None:
    """Write back everything of the file system that `directory` is on; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            raise oserror("syncfs", directory)
    finally:
        os.close(descriptor)
