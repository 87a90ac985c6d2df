"""The snapshot drivers by name, and which of them a host takes."""

from __future__ import annotations

from pathlib import Path

from migrate.images.errors import StorageDriverBad
from migrate.images.overlay import OverlayDriver
from migrate.images.snapshots import SnapshotDriver

NAMES = ("overlay", "btrfs", "vfs")
"""In the order in which they are preferred."""


def driver_named(name: str) -> SnapshotDriver:
    """The driver; raises StorageDriverBad."""
    if name == OverlayDriver.name:  # what nearly all take: the others need not be loaded
        return OverlayDriver()
    from migrate.images.wholetree import BtrfsDriver, VfsDriver

    drivers: dict[str, SnapshotDriver] = {"btrfs": BtrfsDriver(), "vfs": VfsDriver()}
    if name not in drivers:
        raise StorageDriverBad(
            f"there is no storage driver '{name[:100]}'", cause=f"there are {', '.join(NAMES)}"
        )
    return drivers[name]


def _works(name: str, directory: Path) -> bool:
    driver = driver_named(name)
    try:
        return driver.works(directory)
    except OSError:
        return False


def checked(name: str, directory: Path) -> str:
    """`name`, if that driver works in `directory`; raises StorageDriverBad."""
    if not _works(name, directory):
        raise StorageDriverBad(
            f"the storage driver '{name}' does not work here",
            cause=f"it was tried in {directory}",
        )
    return name


def first_working(directory: Path) -> str:
    """The name of the first driver that works in `directory`; raises StorageDriverBad."""
    for name in NAMES:
        if _works(name, directory):
            return name
    raise StorageDriverBad(
        "no storage driver works here", cause=f"{directory} can't even be written"
    )
