"""Unpacks an OCI layer tar into a directory in overlay form.

`.wh.x` becomes a character device 0/0, `.wh..wh..opq` the xattr trusted.overlay.opaque
(image-spec, layer.md, "Whiteouts"; Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
directories"). Layers come from strangers: see `rootdir` for names, `tarread.Limits` for sizes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from migrate.errors import MigrateError
from migrate.images.errors import ImageArchiveBad, LayerUnsafe, disk_full_told, printable
from migrate.images.rootdir import (
    RootDirectory,
    below,
    empty_directory,
    set_mode,
    split_name,
)
from migrate.images.tarread import DEFAULT_LIMITS, Kind, Limits, Member, Source, TarReader

WHITEOUT, OPAQUE, RESERVED = b".wh.", b".wh..wh..opq", b".wh..wh."
OVERLAY_XATTRS = b"trusted.overlay."
OPAQUE_XATTR = b"trusted.overlay.opaque"
WHITEOUT_DEVICE = (0, 0)
NOBODY = 2**32 - 1  # as uid_t -1: "leave as it is" to chown(2)

Staged = Callable[[int, int, int, bytes], None]
"""Puts the file of a number and a size in bytes into a directory (its descriptor), by a name."""

_TYPES = {
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}


def apply_layer(
    stream: Source,
    directory: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    need_end: bool = False,
    staged: Staged | None = None,
) -> None:
    """Unpack the uncompressed tar `stream` into `directory`, which exists and is empty.

    Reads no further than the end mark. On any failure the directory is empty again. Raises
    LayerUnsafe, ImageArchiveBad, DiskFull; ValueError if the directory is not empty. A member whose
    content is elsewhere is refused unless `staged` fetches it.

    Extended attributes that the file system can't hold are left out, and so are the overlay's own
    (a layer must not redirect into other directories).
    """
    if any(os.scandir(directory)):
        raise ValueError(f"{directory} is not empty")
    try:
        with disk_full_told(directory), RootDirectory(directory) as root:
            reader = TarReader(stream, limits, need_end=need_end, staged=staged is not None)
            Unpacking(root, reader, staged).run()
    except BaseException:
        empty_directory(directory)
        raise


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlay's mark of a removed name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(*WHITEOUT_DEVICE)


def _told(error: Exception) -> str:
    """Its text, which can hold the member's name, as an error may show it."""
    return printable(str(error).encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def _named(member: Member, failure: type[MigrateError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise failure(
            f"the member {printable(member.name)} can't be unpacked", cause=_told(error)
        ) from error
    except (OverflowError, ValueError) as error:  # a number out of range, a NUL in a name
        raise failure(
            f"the member {printable(member.name)} has an impossible value", cause=_told(error)
        ) from error


def _refuse_nobody(member: Member) -> None:
    if NOBODY in {member.uid, member.gid}:
        raise LayerUnsafe(f"{printable(member.name)} has an owner that can't exist")


def _set_xattrs(place: int | bytes, member: Member) -> None:
    """Of a descriptor, or of a path whose last component is not followed."""
    how = {} if isinstance(place, int) else {"follow_symlinks": False}
    for key, value in member.xattrs.items():
        if key.startswith(OVERLAY_XATTRS):
            continue
        try:
            os.setxattr(place, key, value, **how)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise


class Unpacking:
    """One layer on its way into one directory; `failure` is what the kernel's refusals become."""

    failure: type[MigrateError] = ImageArchiveBad

    def __init__(self, root: RootDirectory, reader: TarReader, staged: Staged | None) -> None:
        self._staged = staged
        self._root = root
        self._reader = reader
        self._directory_times: dict[bytes, int] = {}

    def run(self) -> None:
        """Place every member, then set the directories' times."""
        for member in self._reader:
            with _named(member, self.failure):
                self._place(member)
        for path, mtime_ns in self._directory_times.items():
            self._set_directory_time(path, mtime_ns)

    def _place(self, member: Member) -> None:
        parts = split_name(member.name)
        if not parts:
            if member.kind is not Kind.DIRECTORY:
                raise LayerUnsafe("the root itself is not a directory in this layer")
            self._attributes(self._root.descriptor, b".", member)
            self._directory_times[b"."] = member.mtime_ns
        elif parts[-1].startswith(WHITEOUT) and not member.literal:
            self._whiteout(parts)
        else:
            self._content(member, parts)

    def _content(self, member: Member, parts: list[bytes]) -> None:
        """What a member itself is, at `parts`."""
        name = parts[-1]
        if member.kind is Kind.HARD_LINK:
            self._hard_link(member, parts)
            return
        parent = self._root.parent(parts[:-1], make=True)
        if member.kind is Kind.DIRECTORY:
            if self._directory(parent, parts, member):
                self._directory_times[b"/".join(parts)] = member.mtime_ns
            return
        if member.kind is Kind.FILE and not (member.staged is not None and self._staged):
            self._whole_file(parent, parts, member)
            return
        parent = self._make_room(parent, parts)
        if member.staged is not None and self._staged:
            self._staged(member.staged, member.size, parent, name)
        elif member.kind is Kind.SYMLINK:
            os.symlink(member.link, name, dir_fd=parent)
        else:
            self._device(parent, name, member)
        self._attributes(parent, name, member)
        os.utime(name, ns=(member.mtime_ns,) * 2, dir_fd=parent, follow_symlinks=False)

    def _make_room(self, parent: int, parts: list[bytes]) -> int:
        """A later member replaces an earlier one of its name; the parent, perhaps opened anew."""
        with contextlib.suppress(FileNotFoundError):
            self._root.remove(parent, parts[-1])
            return self._root.parent(parts[:-1], make=True)
        return parent

    def _whiteout(self, parts: list[bytes]) -> None:
        name = parts[-1]
        parent = self._root.parent(parts[:-1], make=True)
        if name == OPAQUE:
            os.setxattr(below(parent, b"."), OPAQUE_XATTR, b"y")
            return
        if name.startswith(RESERVED):  # AUFS's own records mean nothing here
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."}:
            raise LayerUnsafe(f"the whiteout {printable(b'/'.join(parts))} names nothing")
        try:
            status = os.stat(hidden, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(*WHITEOUT_DEVICE), dir_fd=parent)
            return
        # A whiteout speaks of lower layers only; what this layer holds stays, and hides them.
        if stat.S_ISDIR(status.st_mode):
            os.setxattr(below(parent, hidden), OPAQUE_XATTR, b"y", follow_symlinks=False)

    def _hard_link(self, member: Member, parts: list[bytes]) -> None:
        target = self._link_target(member)
        if not target:
            raise LayerUnsafe(f"{printable(member.name)} is a hard link to the root")
        try:
            source = os.dup(self._root.parent(target[:-1], make=False))
        except FileNotFoundError:
            raise self._no_target(member) from None
        try:
            self._link_from(source, target[-1], member, parts)
        finally:
            os.close(source)

    def _link_target(self, member: Member) -> list[bytes]:
        return split_name(member.link)

    def _link_from(self, source: int, name: bytes, member: Member, parts: list[bytes]) -> None:
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            raise self._no_target(member) from None
        if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
            raise LayerUnsafe(f"{printable(member.name)} is a hard link to no file")
        parent = self._root.parent(parts[:-1], make=True)
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            if os.path.samestat(there, status):
                return
        parent = self._make_room(parent, parts)
        os.link(name, parts[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _no_target(member: Member) -> LayerUnsafe:
        return LayerUnsafe(
            f"{printable(member.name)} is a hard link to {printable(member.link)}, "
            "which this layer does not hold"
        )

    def _directory(self, parent: int, parts: list[bytes], member: Member) -> bool:
        """Make it; whether its attributes are the member's."""
        name, opaque = parts[-1], False
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=parent)
        else:
            if not stat.S_ISDIR(status.st_mode):
                opaque = is_whiteout(status)  # removed and made anew: hides what is below
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o700, dir_fd=parent)
        if opaque:
            os.setxattr(below(parent, name), OPAQUE_XATTR, b"y", follow_symlinks=False)
        self._attributes(parent, name, member)
        return True

    def _whole_file(self, parent: int, parts: list[bytes], member: Member) -> None:
        """A regular file with all that belongs to it, by its descriptor: most members are such.

        In a move they are unpacked while the container stands still.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(parts[-1], flags, 0o600, dir_fd=parent)
        except FileExistsError:
            parent = self._make_room(parent, parts)
            descriptor = os.open(parts[-1], flags, 0o600, dir_fd=parent)
        try:
            self._write(descriptor, member)
            _refuse_nobody(member)
            os.fchown(descriptor, member.uid, member.gid)
            os.fchmod(descriptor, member.mode)
            _set_xattrs(descriptor, member)
            os.utime(descriptor, ns=(member.mtime_ns,) * 2)
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, member: Member) -> None:
        for offset, data in self._reader.chunks():
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset + len(data) - len(view))
                view = view[written:]
        if member.segments is not None:
            os.ftruncate(descriptor, member.size)

    def _device(self, parent: int, name: bytes, member: Member) -> None:
        whiteout = member.kind is Kind.CHARACTER and member.device == WHITEOUT_DEVICE
        if whiteout and not member.literal:  # our own diff writes the literal ones
            raise LayerUnsafe(
                f"{printable(member.name)} is the character device 0/0, a whiteout in disguise"
            )
        os.mknod(name, _TYPES[member.kind] | 0o600, os.makedev(*member.device), dir_fd=parent)

    def _attributes(self, parent: int, name: bytes, member: Member) -> None:
        """Owner, then mode (chown clears setuid), then xattrs (it clears capabilities too)."""
        _refuse_nobody(member)
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.kind is not Kind.SYMLINK:
            set_mode(parent, name, member.mode)
        if member.xattrs:
            _set_xattrs(below(parent, name), member)

    def _set_directory_time(self, path: bytes, mtime_ns: int) -> None:
        parts = split_name(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, LayerUnsafe):
            parent = self._root.parent(parts[:-1], make=False)
            name = parts[-1] if parts else b"."
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.utime(name, ns=(mtime_ns,) * 2, dir_fd=parent, follow_symlinks=False)
