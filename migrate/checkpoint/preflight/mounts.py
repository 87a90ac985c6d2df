"""File systems mounted inside the container that CRIU can't mount again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container, printable
from migrate.criu.catalogue import CATALOGUE
from migrate.kernel.mountinfo import read_mountinfo

# CRIU, criu/filesystems.c: what it has a name for, but overlay: it mounts one made inside by the
# same options, and where it does so there are no such directories.
_MOUNTED_AGAIN = {
    "proc", "sysfs", "devtmpfs", "binfmt_misc", "tmpfs", "devpts", "simfs", "btrfs", "pstore",
    "mqueue", "securityfs", "fusectl", "debugfs", "tracefs", "cgroup", "cgroup2", "aufs",
    "autofs",
}  # fmt: skip
_KNOWN = next(known for known in CATALOGUE if known.name == "mount-kind")


def mounts_that_stay(container: Container) -> Iterator[NotDumpable]:
    """One obstacle a mount, but for what is given to CRIU from outside, and bind mounts of it."""
    with contextlib.suppress(OSError):
        mounts = read_mountinfo(container.init.pid)
        given = {m.device for m in mounts if m.mount_point in container.given_mounts}
        for mount in mounts:
            if mount.device not in given and mount.fs_type not in _MOUNTED_AGAIN:
                place = printable(mount.mount_point)
                yield NotDumpable(
                    f"{place} in the container is a mount of {mount.fs_type}",
                    cause=_KNOWN.cause, mend=_KNOWN.mend,
                )  # fmt: skip
