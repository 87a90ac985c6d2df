"""Leases that a dump would break: it looks at the file, and who holds the lease can't give way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container, Descriptor, printable

BREAK_TIME = Path("/proc/sys/fs/lease-break-time")


def write_leases(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each process.

    An open(2) by anybody else waits until the holder gives a write lease back, or the kernel takes
    it after fs.lease-break-time (fcntl(2), "Leases"); read leases only mind writers.
    """
    for task in container.own_tasks:
        for descriptor in task.descriptors:
            if _is_write_lease(descriptor):
                yield NotDumpable(
                    f"{task.title} holds a write lease on {printable(descriptor.target)}",
                    cause="its files are read while it is frozen and can't give the lease back: "
                    f"each time it would stand still for {BREAK_TIME.read_text().strip()} s "
                    f"({BREAK_TIME}), until the kernel takes the lease away",
                    mend="have the program give it back (F_SETLEASE, F_UNLCK), allow that pause "
                    "with --skip-check leases, or use --mode cold",
                )
                break


def _is_write_lease(descriptor: Descriptor) -> bool:
    """`1: LEASE  ACTIVE    WRITE ...` (Linux, fs/locks.c, lock_get_status)."""
    words = (lock.split() for lock in descriptor.locks)
    return any(lock[1:2] == ["LEASE"] and lock[3:4] == ["WRITE"] for lock in words)
