"""Network namespaces bound to a file: made, and unmade."""

from __future__ import annotations

import os

from migrate.kernel import interfaces, mounts
from migrate.kernel.bare import contextlib
from migrate.kernel.namespaces import CLONE_NEWNET, setns, unshare


def create(path: str | os.PathLike[str]) -> None:
    """Make a network namespace and bind it to the new file `path`; its lo is set up.

    By the calling thread, which is in it for a moment; no netlink: to load that library takes
    longer than to start a container.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            unshare(CLONE_NEWNET)
            try:
                mounts.mount("/proc/thread-self/ns/net", path, flags=mounts.MS_BIND)
                interfaces.bring_up("lo")
            finally:
                setns(home, CLONE_NEWNET)
        finally:
            os.close(home)
    except BaseException:
        delete(path)
        raise


def bring_up_loopback(path: str | os.PathLike[str]) -> None:
    """Set up lo of the bound namespace `path`; by the calling thread, in it for a moment."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there, CLONE_NEWNET)
            try:
                interfaces.bring_up("lo")
            finally:
                setns(home, CLONE_NEWNET)
        finally:
            os.close(there)
    finally:
        os.close(home)


def delete(path: str | os.PathLike[str]) -> None:
    """Unbind and remove the file; the namespace ends with its last process."""
    with contextlib.suppress(OSError):
        mounts.unmount(path, mounts.MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
