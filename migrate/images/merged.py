"""What layers in overlay form look like together, without a mount, and a copy of that.

The rules are overlay's own (Documentation/filesystems/overlayfs.rst): the topmost layer wins, a
device 0/0 hides a name, an opaque directory what is below it; directories of one name are one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from migrate.images.apply import OPAQUE_XATTR, OVERLAY_XATTRS, is_whiteout
from migrate.images.diff import data_segments

_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_CHUNK = 16 << 20


@dataclass(frozen=True)
class Merged:
    """One name: its own path and status, and for a directory all paths that make it, top first."""

    path: bytes
    status: os.stat_result
    directories: tuple[bytes, ...] = ()

    def children(self) -> dict[bytes, Merged]:
        """What a directory holds, by name; raises OSError."""
        found: dict[bytes, _Found] = {}
        for directory in self.directories:
            for entry in os.scandir(directory):
                status = entry.stat(follow_symlinks=False)
                found.setdefault(entry.name, _Found()).add(entry.path, status)
        merged = ((name, each.merged()) for name, each in found.items())
        return {name: each for name, each in merged if each is not None}


@dataclass
class _Found:
    """One name on its way down through the layers."""

    path: bytes = b""
    status: os.stat_result | None = None
    directories: list[bytes] = field(default_factory=list)
    closed: bool = False

    def add(self, path: bytes, status: os.stat_result) -> None:
        if self.closed:
            return
        is_directory = stat.S_ISDIR(status.st_mode)
        if self.status is None and not is_whiteout(status):
            self.path, self.status = path, status
        if is_directory:
            self.directories.append(path)
        self.closed = not is_directory or is_opaque(path)

    def merged(self) -> Merged | None:
        if self.status is None:
            return None
        return Merged(self.path, self.status, tuple(self.directories))


def merged_root(layers: tuple[os.PathLike[str], ...]) -> Merged:
    """The root of these layers, topmost first; raises OSError."""
    directories = []
    for layer in map(os.fsencode, layers):
        directories.append(layer)
        if is_opaque(layer):
            break
    return Merged(directories[0], os.lstat(directories[0]), tuple(directories))


def is_opaque(path: bytes) -> bool:
    """Whether a directory hides what layers below have under its name."""
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise


def copy_merged(root: Merged, target: bytes) -> None:
    """Fill the empty directory `target` with a copy; hard links of a layer stay links.

    Extended attributes that the target's file system can't hold are left out. Raises OSError.
    """
    linked: dict[tuple[int, int], bytes] = {}
    directories = [(root, target)]
    waiting = [(root, target)]
    while waiting:
        directory, here = waiting.pop()
        for name, child in sorted(directory.children().items()):
            place = here + b"/" + name
            if child.directories and stat.S_ISDIR(child.status.st_mode):
                os.mkdir(place, 0o700)  # noqa: PTH102  paths are bytes here
                directories.append((child, place))
                waiting.append((child, place))
            else:
                copy_one(child.path, child.status, place, linked)
    for directory, place in reversed(directories):
        copy_attributes(directory.path, directory.status, place)


def copy_one(
    source: bytes, status: os.stat_result, place: bytes, linked: dict[tuple[int, int], bytes]
) -> None:
    """Copy what is no directory, with its attributes; `linked`: where each inode is already."""
    key = (status.st_dev, status.st_ino)
    if status.st_nlink > 1:
        if first := linked.get(key):
            os.link(first, place, follow_symlinks=False)
            return
        linked[key] = place
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, place)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), place)  # noqa: PTH115, PTH211
    elif not stat.S_ISSOCK(status.st_mode):
        os.mknod(place, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
    else:
        return
    copy_attributes(source, status, place)


def copy_attributes(source: bytes, status: os.stat_result, place: bytes) -> None:
    """Owner, mode, extended attributes and times, in the order in which they don't undo each other.

    The overlay's own attributes stay behind. Raises OSError.
    """
    os.chown(place, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(place, stat.S_IMODE(status.st_mode))  # noqa: PTH101  bytes
    for name, value in attributes_of(source):
        try:
            os.setxattr(place, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def attributes_of(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Extended attributes, the overlay's own left out; raises OSError."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in map(os.fsencode, names):
        if not name.startswith(OVERLAY_XATTRS):
            yield name, os.getxattr(path, name, follow_symlinks=False)


def _copy_file(source: bytes, place: bytes) -> None:
    """By reference where the file system can, else the data without the holes."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(place, flags, 0o600)
        try:
            with contextlib.suppress(OSError):
                fcntl.ioctl(writing, _FICLONE, reading)
                return
            size = os.fstat(reading).st_size
            os.ftruncate(writing, size)
            for start, length in data_segments(reading, size):
                _copy_range(reading, writing, start, length)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_range(reading: int, writing: int, start: int, length: int) -> None:
    done = 0
    while done < length:
        at = start + done
        try:
            count = os.copy_file_range(reading, writing, min(_CHUNK, length - done), at, at)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            data = os.pread(reading, min(_CHUNK, length - done), at)
            count = os.pwrite(writing, data, at)
        if not count:  # it has become shorter
            return
        done += count
