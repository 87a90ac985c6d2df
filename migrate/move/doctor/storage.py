"""Storage: overlay and room in the state directory, and what /run is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from migrate.images.overlay import OverlayDriver
from migrate.kernel.mountinfo import read_mountinfo
from migrate.move.doctor.finding import Finding, good, lacking
from migrate.runtime.paths import Paths

ROOM = 1 << 30
"""Bytes below which the state directory counts as nearly full."""


def check(paths: Paths) -> Iterator[Finding]:
    """What is found about storage."""
    try:
        paths.make()
    except OSError as error:
        mend = "run it as root, or set MIGRATE_STATE and MIGRATE_RUN"
        yield lacking("state directory", str(error), "nothing can be kept", mend, needed=True)
        return
    yield _overlay(paths.state)
    yield _room(paths.state)
    yield _run()


def _overlay(state: Path) -> Finding:
    costs = "containers of images can't be mounted"
    try:
        works = OverlayDriver().works(state)
    except OSError as error:
        return lacking("overlay", str(error), costs, "free some space", needed=True)
    if works:
        return good("overlay", f"works in {state}", needed=True)
    mend = "modprobe overlay; or put the state directory on ext4, xfs or btrfs (MIGRATE_STATE)"
    return lacking("overlay", f"does not work in {state}", costs, mend, needed=True)


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
