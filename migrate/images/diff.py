"""Writes a directory, or an overlay upper, as a deterministic OCI layer tar.

The same tree gives the same bytes: names sorted as bytes, no names of users, PAX only where ustar
can't say it. A directory's entries come together, its subdirectories after them. The tree may be
in use meanwhile: what vanishes is left out, a file that shrinks is filled up with zeros.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from migrate.images.apply import (
    OPAQUE,
    OPAQUE_XATTR,
    OVERLAY_XATTRS,
    WHITEOUT,
    is_whiteout,
)
from migrate.images.errors import LayerNotWritten, disk_full_told, printable
from migrate.images.rootdir import below
from migrate.images.tarread import Kind, Member, Segments
from migrate.images.tarwrite import END, header, padding
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

CHUNK = 1 << 20

Staged = Callable[[int, os.stat_result], int | None]
"""Given an open file and its status: the number under which its content is kept elsewhere."""

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
_OPAQUE_VALUES = {b"y"}


def write_layer(
    directory: Path, out: BinaryIO, *, overlay: bool, staged: Staged | None = None
) -> str:  # fmt: skip
    """Write `directory` to `out` as an uncompressed layer tar; returns its diff id.

    With `overlay`, the directory is an overlay upper: devices 0/0 are written as `.wh.` members
    and opaque directories get a `.wh..wh..opq`. Sockets are left out. A file for which `staged`
    knows a number has no content in the tar (a form for `apply_layer` alone). Raises
    LayerNotWritten, DiskFull; OSError of `out` (a broken pipe, say) passes.
    """
    with disk_full_told(Path(str(getattr(out, "name", "the layer's destination")))):
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return Packing(root, out, overlay=overlay, staged=staged).run()
        finally:
            os.close(root)


@dataclass(frozen=True)
class Entry:
    """A name in an open directory, and its whole path in the layer."""

    parent: int
    name: bytes
    path: bytes


class Packing:
    """One tree on its way into one tar."""

    def __init__(
        self, root: int, out: BinaryIO, *, overlay: bool, staged: Staged | None = None,
        prefix: bytes = b"", owner: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        """`prefix`, a path without a slash at its end, stands before every name.

        `owner` says what ids of the files are told.
        """
        self._owner = owner
        self._staged = staged
        self._prefix = prefix
        self._root = root
        self._out = out
        self._overlay = overlay
        self._hash = hashlib.sha256()
        self._linked: dict[tuple[int, int], bytes] = {}
        self._device = os.fstat(root).st_dev

    def run(self) -> str:
        """Pack the whole tree; the diff id."""
        self._entry(Entry(self._root, b".", b"."), os.fstat(self._root))
        todo = [b"."]
        while todo:
            todo += reversed(self._directory(todo.pop()))
        return self._end()

    def run_one(self, name: bytes) -> str:
        """Pack only what the root has under `name`, no directory; it is called by the prefix.

        Raises FileNotFoundError.
        """
        status = os.stat(name, dir_fd=self._root, follow_symlinks=False)
        self._entry(Entry(self._root, name, b"."), status)
        return self._end()

    def _end(self) -> str:
        self._write(END)
        return f"sha256:{self._hash.hexdigest()}"

    def _header(self, member: Member) -> None:
        if self._prefix:
            name = self._named(member.name)
            link = self._named(member.link) if member.kind is Kind.HARD_LINK else member.link
            member = replace(member, name=name, link=link)
        self._write(header(member))

    def _named(self, name: bytes) -> bytes:
        """A name below the prefix; `.` and `./` are the prefix itself."""
        return self._prefix + (name[1:] if name in {b".", b"./"} else b"/" + name)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._out.write(data)

    def _directory(self, path: bytes) -> list[bytes]:
        """Write the entries of one directory; returns its subdirectories, sorted."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            descriptor = openat2(
                self._root, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:  # replaced meanwhile
                return []
            raise _unreadable(path, error) from error
        try:
            prefix = b"" if path == b"." else path + b"/"
            if self._overlay and is_opaque(descriptor):
                self._header(Member(prefix + OPAQUE, Kind.FILE, mode=0))
            names = sorted(os.fsencode(name) for name in os.listdir(descriptor))  # noqa: PTH208  by descriptor
            entries = [Entry(descriptor, name, prefix + name) for name in names]
            return [entry.path for entry in entries if self._named_entry(entry)]
        finally:
            os.close(descriptor)

    def _named_entry(self, entry: Entry) -> bool:
        """Write one entry; whether it is a directory to go into."""
        try:
            status = os.stat(entry.name, dir_fd=entry.parent, follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                return False
            self._entry(entry, status)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_dev == self._device

    def _entry(self, entry: Entry, status: os.stat_result) -> None:
        if self._overlay and is_whiteout(status):
            self._header(whiteout(entry))
            return
        member = self._member(entry, status)
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            first = self._linked.get((status.st_dev, status.st_ino))
            if first is not None:
                linked = replace(member, kind=Kind.HARD_LINK, link=first, size=0, xattrs={})
                self._header(linked)
                return
        if member.kind is Kind.FILE:
            self._file(entry, member)
        else:
            self._header(member)
        if status.st_nlink > 1:
            self._linked[status.st_dev, status.st_ino] = entry.path

    def _member(self, entry: Entry, status: os.stat_result) -> Member:
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        device = (0, 0)
        if kind in {Kind.CHARACTER, Kind.BLOCK}:
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        link = os.readlink(entry.name, dir_fd=entry.parent) if kind is Kind.SYMLINK else b""
        suffix = b"/" if kind is Kind.DIRECTORY else b""
        uid, gid = status.st_uid, status.st_gid
        if self._owner:
            uid, gid = self._owner(uid, gid)
        return Member(
            name=entry.path + suffix, kind=kind, mode=stat.S_IMODE(status.st_mode),
            uid=uid, gid=gid, mtime_ns=status.st_mtime_ns, link=link,
            size=status.st_size if kind is Kind.FILE else 0, device=device,
            xattrs=self._xattrs(entry), literal=_last_name(entry.path).startswith(WHITEOUT),
        )  # fmt: skip

    @staticmethod
    def _xattrs(entry: Entry) -> dict[bytes, bytes]:
        path = below(entry.parent, entry.name)
        found = {}
        try:
            for name in os.listxattr(path, follow_symlinks=False):
                key = os.fsencode(name)
                if not key.startswith(OVERLAY_XATTRS):
                    found[key] = os.getxattr(path, name, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno not in {errno.ENOTSUP, errno.ENODATA}:
                raise _unreadable(entry.path, error) from error
        return found

    def _file(self, entry: Entry, member: Member) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(entry.name, flags, dir_fd=entry.parent)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(entry.path, error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "replaced meanwhile", entry.path)
            number = self._staged(descriptor, status) if self._staged else None
            if number is not None:
                self._header(replace(member, size=status.st_size, staged=number))
                return
            segments = data_segments(descriptor, status.st_size)
            holes = segments != [(0, status.st_size)] and status.st_size > 0
            self._header(replace(member, size=status.st_size, segments=segments if holes else None))
            self._data(descriptor, segments)
        finally:
            os.close(descriptor)

    def _data(self, descriptor: int, segments: Segments) -> None:
        """Exactly the bytes that the header promised."""
        for start, length in segments:
            done = 0
            while done < length:
                wanted = min(CHUNK, length - done)
                data = os.pread(descriptor, wanted, start + done) or bytes(wanted)
                self._write(data)
                done += len(data)
        self._write(padding(sum(length for _, length in segments)))


def _last_name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def data_segments(descriptor: int, size: int) -> Segments:
    """Where a file holds data, as (offset, length): what is between them are holes (lseek(2))."""
    segments: Segments = []
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start >= end:
            break
        segments.append((start, end - start))
        position = end
    if size and (not segments or sum(segments[-1]) < size):
        segments.append((size, 0))  # GNU tar's way to tell where the last hole ends
    return segments


def whiteout(entry: Entry) -> Member:
    """The OCI form; where the removed name itself begins with .wh., the device under its name."""
    if entry.name.startswith(WHITEOUT):
        return Member(entry.path, Kind.CHARACTER, mode=0, literal=True)
    path = entry.path[: len(entry.path) - len(entry.name)] + WHITEOUT + entry.name
    return Member(path, Kind.FILE, mode=0)


def is_opaque(descriptor: int) -> bool:
    """Whether this directory of an overlay upper hides those below it; raises OSError."""
    try:
        return os.getxattr(descriptor, OPAQUE_XATTR) in _OPAQUE_VALUES
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise


def _unreadable(path: bytes, error: OSError) -> LayerNotWritten:
    return LayerNotWritten(f"{printable(path)} can't be read for the layer", cause=str(error))
