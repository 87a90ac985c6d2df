"""Names of a layer resolved beneath one directory, by descriptors: no way leads out of it.

Absolute symlinks mean the root of the layer, as they do for the container. A `..` above the root
is refused: no honest layer has one on the way to a member. In a container's own root, where it is
the root again, it can be clamped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from migrate.images.errors import LayerUnsafe, printable
from migrate.kernel.btrfs import destroy_subvolume_at
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

LINK_LIMIT = 40
IMPLICIT_MODE = 0o755
_WALKED = {errno.EXDEV, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN}
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def split_name(name: bytes) -> list[bytes]:
    """The components of a member's name; [] is the root. Raises LayerUnsafe."""
    if not name or b"\0" in name:
        raise LayerUnsafe("a member has no proper name", cause=f"it is {printable(name)!r}")
    if name.startswith(b"/"):
        raise LayerUnsafe(f"the member {printable(name)} has an absolute name")
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise LayerUnsafe(f"the member {printable(name)} climbs out with '..'")
    return parts


class RootDirectory:
    """A directory in which parents of members are found and made; a context manager.

    The descriptor of the last parent is kept: members of one directory follow each other.
    """

    def __init__(self, place: Path | int, *, clamp: bool = False) -> None:
        """`place` is a path, or a directory's descriptor, which stays the caller's."""
        if isinstance(place, int):
            self.descriptor = os.dup(place)
        else:
            self.descriptor = os.open(place, _DIRECTORY | os.O_NOFOLLOW)
        self._clamp = clamp
        self._last: tuple[bytes, int] | None = None

    def __enter__(self) -> RootDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        os.close(self.descriptor)

    def forget(self) -> None:
        """Drop the kept parent; called whenever something was removed or replaced."""
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def parent(self, parts: list[bytes], *, make: bool) -> int:
        """A descriptor, owned by this object, of the directory that `parts` names.

        With `make`, missing directories are made (0755, root). Raises LayerUnsafe where the way
        leads out or through something that is no directory, FileNotFoundError.
        """
        path = b"/".join(parts)
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        descriptor = self._open(path, parts, make=make)
        self.forget()
        self._last = (path, descriptor)
        return descriptor

    def _open(self, path: bytes, parts: list[bytes], *, make: bool) -> int:
        try:
            return openat2(
                self.descriptor, path or b".", os.O_PATH | os.O_DIRECTORY,
                resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
            )  # fmt: skip
        except OSError as error:
            if error.errno not in _WALKED:
                raise
        return self._walk(path, parts, make=make)

    def _walk(self, path: bytes, parts: list[bytes], *, make: bool) -> int:
        """As the kernel would, but with absolute links inside and missing directories made."""
        trail = [os.dup(self.descriptor)]
        todo, links = list(reversed(parts)), 0
        try:
            while todo:
                part = todo.pop()
                if part == b"..":
                    if len(trail) > 1:
                        os.close(trail.pop())
                    elif not self._clamp:
                        raise LayerUnsafe(f"the way to {printable(path)} leads out of the root")
                    continue
                target = self._step(trail, part, path, make=make)
                if target is None:
                    continue
                links += 1
                if links > LINK_LIMIT:
                    raise LayerUnsafe(f"the way to {printable(path)} has too many links")
                if target.startswith(b"/"):
                    while len(trail) > 1:
                        os.close(trail.pop())
                todo += [p for p in reversed(target.split(b"/")) if p not in {b"", b"."}]
            return os.dup(trail[-1])
        finally:
            for descriptor in trail:
                os.close(descriptor)

    def _step(self, trail: list[int], part: bytes, path: bytes, *, make: bool) -> bytes | None:
        """Push the directory `part`; a symlink gives its target instead."""
        here = trail[-1]
        try:
            mode = os.stat(part, dir_fd=here, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if not make:
                raise
            os.mkdir(part, IMPLICIT_MODE, dir_fd=here)
            set_mode(here, part, IMPLICIT_MODE)  # whatever the umask is
            mode = stat.S_IFDIR
        if stat.S_ISLNK(mode):
            return os.readlink(part, dir_fd=here)
        if not stat.S_ISDIR(mode):
            raise LayerUnsafe(f"the way to {printable(path)} passes through a file")
        trail.append(os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here))
        return None

    def remove(self, parent: int, name: bytes) -> None:
        """Remove what `name` is, a whole directory too."""
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            kept = os.dup(parent)
            try:
                self.forget()
                remove_tree(name, kept)
            finally:
                os.close(kept)
        else:
            os.unlink(name, dir_fd=parent)


def set_mode(parent: int, name: bytes, mode: int) -> None:
    """chmod(2) of a name that is no link; one that was put in its place meanwhile is not followed.

    Raises OSError.
    """
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101  of what is open (proc(5))
    finally:
        os.close(descriptor)


def below(parent: int, name: bytes) -> bytes:
    """A path for calls without *at form; only its last component is not pinned by a descriptor."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


def remove_tree(name: Path | bytes, parent: int | None = None) -> int:
    """Remove a directory (of the directory descriptor `parent`) and all in it; bytes freed on disk.

    Not `shutil.rmtree`, which recurses: a layer may nest deeper than Python's stack. Here every
    subdirectory is moved up to the top before its parent goes. Raises OSError.
    """
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        freed = _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)
    return freed


def _empty(top: int) -> int:
    freed, serial = 0, 0
    # btrfs lists what there was at the opening or at the last seek to the start (since Linux 6.5).
    while os.lseek(top, 0, os.SEEK_SET) == 0 and (names := os.listdir(top)):
        for name in names:
            status = os.stat(name, dir_fd=top, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=top)
                freed += status.st_blocks * 512 if status.st_nlink == 1 else 0
                continue
            try:
                serial = _lift_contents(top, name, serial)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                destroy_subvolume_at(top, os.fsencode(name))
                continue
            os.rmdir(name, dir_fd=top)
            freed += status.st_blocks * 512
    return freed


def _lift_contents(top: int, name: str, serial: int) -> int:
    """Move what is in a subdirectory up to the top; the last serial number given away."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    child = os.open(name, flags, dir_fd=top)
    try:
        for inner in os.listdir(child):  # noqa: PTH208  by descriptor
            serial += 1
            fresh = f".removed-{serial}-{secrets.token_hex(8)}"
            os.rename(inner, fresh, src_dir_fd=child, dst_dir_fd=top)
    finally:
        os.close(child)
    return serial


def empty_directory(directory: Path) -> None:
    """Remove everything in `directory`, itself excepted; errors are passed over."""
    with contextlib.suppress(OSError):
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _empty(top)
        finally:
            os.close(top)
