"""Subvolumes of btrfs: made, snapshot, removed (include/uapi/linux/btrfs.h, fs/btrfs/ioctl.c)."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from migrate.kernel.filesystems import BTRFS, magic

# _IOW(0x94, number, struct btrfs_ioctl_vol_args), which has 4096 bytes: s64 fd, char name[4088].
_SNAP_CREATE, _SUBVOL_CREATE, _SNAP_DESTROY = 0x50009401, 0x5000940E, 0x5000940F
_ARGUMENTS = struct.Struct("=q4088s")
_ROOT_INODE = 256  # of each subvolume (BTRFS_FIRST_FREE_OBJECTID)


def is_subvolume(path: Path) -> bool:
    """Whether this is the top of a subvolume."""
    try:
        return path.lstat().st_ino == _ROOT_INODE and magic(path) == BTRFS
    except OSError:
        return False


def create_subvolume(path: Path) -> None:
    """Make an empty one; raises OSError: ENOTTY where the file system is none of btrfs."""
    _call(_SUBVOL_CREATE, path, 0)


def snapshot(source: Path, path: Path) -> None:
    """Make a writable one with the content of the subvolume `source`; raises OSError."""
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call(_SNAP_CREATE, path, descriptor)
    finally:
        os.close(descriptor)


def destroy_subvolume(path: Path) -> None:
    """Remove one with all that is in it, at once; raises OSError."""
    _call(_SNAP_DESTROY, path, 0)


def destroy_subvolume_at(parent: int, name: bytes) -> None:
    """The same by its name in an open directory. What is mounted there is not looked at."""
    _call_at(_SNAP_DESTROY, parent, name, 0)


def _call(request: int, path: Path, descriptor: int) -> None:
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call_at(request, parent, os.fsencode(path.name), descriptor)
    finally:
        os.close(parent)


def _call_at(request: int, parent: int, name: bytes, descriptor: int) -> None:
    # A bytearray: Python takes no more than 1024 bytes of what can't be changed.
    fcntl.ioctl(parent, request, bytearray(_ARGUMENTS.pack(descriptor, name)))
