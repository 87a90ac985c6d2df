"""Storage: the driver and room in the state directory, and what /run is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from migrate.errors import MigrateError
from migrate.images.overlay import OverlayDriver
from migrate.kernel.mountinfo import read_mountinfo
from migrate.move.doctor.finding import Finding, good, lacking
from migrate.runtime.paths import Paths
from migrate.runtime.storage import driver_for

ROOM = 1 << 30
"""Bytes below which the state directory counts as nearly full."""
_COSTS = {
    "btrfs": "a move compares whole trees; large files travel while it is paused",
    "vfs": "each container copies its image; a move compares whole trees, large files travel while "
    "it is paused",
}


def check(paths: Paths) -> Iterator[Finding]:
    """What is found about storage."""
    try:
        paths.make()
    except OSError as error:
        mend = "run it as root, or set MIGRATE_STATE and MIGRATE_RUN"
        yield lacking("state directory", str(error), "nothing can be kept", mend, needed=True)
        return
    yield _driver(paths)
    yield _room(paths.state)
    yield _run()


def _driver(paths: Paths) -> Finding:
    """Which storage driver containers get here, and why; overlay is the one to be wished for."""
    costs = "containers can't have root file systems"
    try:
        chosen = driver_for(paths)
    except MigrateError as error:
        return lacking("storage driver", error.what, costs, error.mend, needed=True)
    except OSError as error:
        return lacking("storage driver", str(error), costs, "free some space", needed=True)
    found = f"{chosen} in {paths.state}"
    if chosen == OverlayDriver.name or OverlayDriver().works(paths.state):
        return good("storage driver", found, needed=True)
    mend = "modprobe overlay; or put the state directory on ext4, xfs or btrfs (MIGRATE_STATE)"
    return lacking("storage driver", f"{found}; overlay does not work", _COSTS[chosen], mend)


def _room(state: Path) -> Finding:
    free = shutil.disk_usage(state).free
    found = f"{free / (1 << 30):.1f} GiB free in {state}"
    if free >= ROOM:
        return good("disk", found)
    return lacking("disk", found, "images, volumes or a dump may not fit",
                   "free some space, or move the state directory (MIGRATE_STATE)")  # fmt: skip


def _run() -> Finding:
    mounted = [m.fs_type for m in read_mountinfo() if m.mount_point == "/run"]
    if mounted and mounted[-1] in {"tmpfs", "ramfs"}:
        return good("/run", "tmpfs")
    return lacking("/run", "no tmpfs", "CRIU writes no feature cache there by itself; migrate does",
                   "none needed; or mount a tmpfs on /run at boot")  # fmt: skip
