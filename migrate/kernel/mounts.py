"""Mounts: mount(2), umount2(2), pivot_root(2), mount_setattr(2)."""

from __future__ import annotations

import ctypes
import os

from migrate.kernel.libc import (
    AT_FDCWD,
    SYS_MOUNT_SETATTR,
    SYS_MOVE_MOUNT,
    SYS_OPEN_TREE,
    libc,
    oserror,
    syscall,
    syscall_number,
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS = 1, 2, 4, 8, 16
MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC, MS_NOATIME, MS_NODIRATIME = 32, 64, 128, 1024, 2048
MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_I_VERSION, MS_NOSYMFOLLOW = 1 << 21, 1 << 24, 1 << 23, 256
# include/uapi/linux/mount.h, MOUNT_ATTR_*; ATTR_ATIME is the mask of the access time's three.
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
ATTR_ATIME, ATTR_NOATIME, ATTR_STRICTATIME = 0x70, 0x10, 0x20
ATTR_NODIRATIME, ATTR_IDMAP, ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_FROM_EMPTY, _MOVE_TO_EMPTY = 1, 0x4, 0x40
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8

libc.mount.argtypes = (
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
)  # fmt: skip
libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def mount(
    source: str, target: str | os.PathLike[str], fs_type: str = "", flags: int = 0, data: str = ""
) -> None:
    """mount(2); raises OSError naming source and target."""
    result = libc.mount(
        source.encode(), os.fsencode(target), fs_type.encode() or None, flags,
        data.encode() or None,
    )  # fmt: skip
    if result != 0:
        raise oserror(f"mount {source or fs_type or '-'} on {os.fspath(target)}")


class _MountAttributes(ctypes.Structure):
    """struct mount_attr, include/uapi/linux/mount.h."""

    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")
    )


def make_tree_read_only(descriptor: int) -> None:
    """Make the mount at an O_PATH descriptor and all mounts below it read-only (Linux 5.12)."""
    set_tree_attributes(descriptor, ATTR_RDONLY)


def set_tree_attributes(descriptor: int, setting: int, clearing: int = 0) -> None:
    """Set and clear ATTR_* of the mount at an O_PATH descriptor and of all mounts below it.

    mount_setattr(2), Linux 5.12. Raises OSError.
    """
    attributes = _MountAttributes(attr_set=setting, attr_clr=clearing)
    syscall(
        "mount_setattr", SYS_MOUNT_SETATTR, descriptor, ctypes.c_char_p(b""),
        _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes),
    )  # fmt: skip


def open_tree(path: str, *, recursive: bool) -> int:
    """A copy of the mount at `path` (`recursive`: with all below it) that is mounted nowhere.

    An O_PATH descriptor, close-on-exec (open_tree(2), OPEN_TREE_CLONE, Linux 5.2). Raises OSError.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return syscall(
        f"open_tree {path}", SYS_OPEN_TREE, AT_FDCWD, ctypes.c_char_p(os.fsencode(path)), flags
    )


def open_tree_of(place: int) -> int:
    """The same of the file of an O_PATH descriptor, alone."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    return syscall("open_tree", SYS_OPEN_TREE, place, ctypes.c_char_p(b""), flags)


def set_tree_propagation(tree: int, kind: int) -> None:
    """Make the mount at an O_PATH descriptor and all below it MS_SLAVE, MS_PRIVATE and the like.

    mount_setattr(2), Linux 5.12. Raises OSError.
    """
    attributes = _MountAttributes(propagation=kind)
    syscall(
        "mount_setattr propagation", SYS_MOUNT_SETATTR, tree, ctypes.c_char_p(b""),
        _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes),
    )  # fmt: skip


def map_ids(tree: int, user_namespace: int, *, recursive: bool) -> None:
    """Show the files of a mount that is mounted nowhere with the ids of a user namespace's maps.

    mount_setattr(2), MOUNT_ATTR_IDMAP, Linux 5.12. Raises OSError: EINVAL where the file system
    can't do it.
    """
    attributes = _MountAttributes(attr_set=ATTR_IDMAP, userns_fd=user_namespace)
    syscall(
        "mount_setattr MOUNT_ATTR_IDMAP", SYS_MOUNT_SETATTR, tree, ctypes.c_char_p(b""),
        _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0), ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )  # fmt: skip


def attach_tree(tree: int, place: int) -> None:
    """Mount what `open_tree` gave on the file of an O_PATH descriptor (move_mount(2), Linux 5.2).

    Raises OSError.
    """
    syscall(
        "move_mount", SYS_MOVE_MOUNT, tree, ctypes.c_char_p(b""), place, ctypes.c_char_p(b""),
        _MOVE_FROM_EMPTY | _MOVE_TO_EMPTY,
    )  # fmt: skip


def unmount(target: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2); raises OSError naming the target."""
    if libc.umount2(os.fsencode(target), flags) != 0:
        raise oserror(f"umount {os.fspath(target)}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall(
        f"pivot_root {new_root}", syscall_number("pivot_root"),
        ctypes.c_char_p(new_root.encode()), ctypes.c_char_p(put_old.encode()),
    )  # fmt: skip
