"""A btrfs file system in a file, mounted for a while."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE = 256 << 20


@contextlib.contextmanager
def mounted_btrfs(directory: Path) -> Iterator[Path]:
    """The mount point in `directory`; afterwards neither mount nor loop device is left."""
    image, place = directory / "btrfs.img", directory / "btrfs"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.btrfs", "-q", "-M", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)
        image.unlink()
