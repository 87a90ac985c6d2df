"""Copies between this host and a container's root, whether the container runs or not."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migrate.images.copying import Keeping, Overlaying
from migrate.images.diff import Packing
from migrate.images.errors import CopyFailed, disk_full_told, printable
from migrate.images.rootdir import RootDirectory
from migrate.images.streams import CountingReader, decompressed, piped
from migrate.images.tarread import TarReader
from migrate.kernel import mounts
from migrate.kernel.files import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    directory_descriptor,
    openat2,
)
from migrate.kernel.namespaces import CLONE_NEWNS, unshare
from migrate.kernel.userns import acting_as
from migrate.runtime import records
from migrate.runtime.lifecycle.create import prepare_user_namespace
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, UserNamespace
from migrate.runtime.status import process_of_container, require
from migrate.runtime.storage import bind_tree, mount_rootfs

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
Count = Callable[[int], None]
"""Hears how many more bytes have been copied."""


@dataclass(frozen=True)
class Place:
    """A path below an open root; `inside` a container, no link leads out of it.

    `ids`: of a user namespace through whose maps its files are seen.
    """

    root: int
    path: str
    inside: bool
    ids: UserNamespace = UserNamespace()  # noqa: RUF009 -- frozen

    def open(self, path: str, flags: int) -> int:
        """An O_PATH descriptor; raises OSError."""
        resolve = _IN_ROOT if self.inside else 0
        return openat2(self.root, path.lstrip("/") or ".", os.O_PATH | flags, resolve=resolve)

    def kind(self, path: str, flags: int = 0) -> int | None:
        """The type bits of what is there, links followed; None where nothing is."""
        try:
            descriptor = self.open(path, flags)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return stat.S_IFMT(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def host_place(path: str) -> Iterator[Place]:
    """A path of this host, from the caller's directory on."""
    slash = "/" if path.endswith("/") else "/." if path.endswith("/.") else ""
    with directory_descriptor(Path("/")) as root:
        yield Place(root, os.path.abspath(path) + slash, inside=False)  # noqa: PTH100  keeps links


@contextlib.contextmanager
def container_place(paths: Paths, record: Record, path: str) -> Iterator[Place]:
    """A path in a container; raises WrongState, RootfsBad.

    That of one that does not run is mounted for this, in a mount namespace that the calling thread
    enters for good: it is gone with the thread, whatever becomes of it.
    """
    with contextlib.ExitStack() as stack:
        status = require(paths, record, "running", "paused", "created", "stopped")
        if status.word != "stopped":
            root = stack.enter_context(directory_descriptor(Path(f"/proc/{status.pid}/root")))
            process_of_container(paths, record)  # it was its pid still when that was opened
        else:
            own = paths.container(record.identifier)
            stack.enter_context(records.locked(own, "cp"))
            require(paths, record, "stopped")
            _mount_apart(paths, record)
            root = stack.enter_context(directory_descriptor(own.rootfs))
        yield Place(root, path, inside=True, ids=record.user_namespace)


def _mount_apart(paths: Paths, record: Record) -> None:
    unshare(CLONE_NEWNS)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    prepare_user_namespace(paths, record)
    mount_rootfs(paths, record)
    root = paths.container(record.identifier).rootfs
    for bind in sorted(record.binds, key=lambda bind: len(bind.target)):
        with directory_descriptor(root) as descriptor:
            try:
                there = openat2(descriptor, bind.target.lstrip("/"), os.O_PATH, resolve=_IN_ROOT)
            except FileNotFoundError:
                continue  # it has never been started
        try:
            tree = bind_tree(paths, record, bind)
            mounts.attach_tree(tree, there)
            os.close(tree)
            if bind.read_only:
                with directory_descriptor(root) as descriptor:
                    over = openat2(descriptor, bind.target.lstrip("/"), os.O_PATH, resolve=_IN_ROOT)
                mounts.make_tree_read_only(over)
                os.close(over)
        finally:
            os.close(there)


def copy(source: Place, target: Place, *, archive: bool, follow: bool, count: Count) -> None:
    """Copy as `cp -r` does: into a directory that is there, else under the new name.

    Of a source that ends in `/.`, what is in it. Raises CopyFailed, DiskFull; what has been copied
    until then stays.
    """
    with _found(source, follow) as (directory, name, is_directory):
        beneath, called = _destination(source, target, name, is_directory)

        def write(out: BinaryIO) -> None:
            packing = Packing(directory, out, overlay=False, prefix=called, owner=source.ids.inside)
            packing.run() if is_directory else packing.run_one(os.fsencode(name))

        with _told(source), piped(write) as stream:
            _lay(CountingReader(stream, count), target, beneath, _keeping(target, archive))


def pack(source: Place, out: BinaryIO, *, follow: bool) -> None:
    """Write a tar of the source to `out`; raises CopyFailed, and OSError of `out`."""
    with _found(source, follow) as (directory, name, is_directory), _told(source):
        called = b"" if _contents_only(source) else os.fsencode(name)
        packing = Packing(directory, out, overlay=False, prefix=called, owner=source.ids.inside)
        packing.run() if is_directory else packing.run_one(os.fsencode(name))


def unpack(stream: BinaryIO, target: Place, *, count: Count) -> None:
    """Lay the members of a tar (plain or compressed) into a directory that is there, owners kept.

    Raises CopyFailed, ImageArchiveBad, LayerUnsafe, DiskFull.
    """
    if target.kind(target.path) != stat.S_IFDIR:
        raise CopyFailed(f"{target.path} is no directory", mend="make it first")
    counted = CountingReader(decompressed(stream), count)
    _lay(counted, target, target.path, Keeping(numbers=target.ids.outside))


def _lay(stream: CountingReader, target: Place, beneath: str, keeping: Keeping) -> None:
    """On the host the directory itself is the root: no link in it is followed out of it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk_full_told(Path(target.path)))
        if target.inside:
            if target.ids:  # who makes a file there has to be somebody there
                stack.enter_context(acting_as(*target.ids.root))
            root = stack.enter_context(RootDirectory(target.root, clamp=True))
            parts = [part for part in os.fsencode(beneath).split(b"/") if part not in {b"", b"."}]
        else:
            descriptor = target.open(beneath, os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            root, parts = stack.enter_context(RootDirectory(descriptor)), []
        Overlaying(root, TarReader(stream, need_end=True), parts, keeping).run()


def _keeping(target: Place, archive: bool) -> Keeping:
    if archive:
        return Keeping(numbers=target.ids.outside)
    if target.inside:
        return Keeping(owner=(0, 0), numbers=target.ids.outside)
    return Keeping(owner=(os.getuid(), os.getgid()), privileges=False)


def _contents_only(source: Place) -> bool:
    return source.path.endswith("/.") or not source.path.strip("/.")


@contextlib.contextmanager
def _found(source: Place, follow: bool) -> Iterator[tuple[int, str, bool]]:
    """A descriptor for packing: the directory itself, or the parent of what is none; its name."""
    path = source.path.removesuffix(".") if source.path.endswith("/.") else source.path
    follow = follow or path.endswith("/")
    name = os.path.basename(path.rstrip("/")) or "root"  # noqa: PTH119  may be a container's
    try:
        if source.kind(path, 0 if follow else os.O_NOFOLLOW) == stat.S_IFDIR:
            directory = source.open(path, os.O_DIRECTORY)
        elif path.endswith("/"):
            raise NotADirectoryError(20, "not a directory", path)
        else:
            directory, name = _parent(source, path, follow)
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            try:
                yield directory, name, False
            finally:
                os.close(directory)
            return
    except OSError as error:
        raise CopyFailed(
            f"there is nothing to copy at {printable(os.fsencode(source.path))}", cause=str(error),
            mend="look at the path (of a running container: 'migrate exec NAME ls -la PATH')",
        ) from error  # fmt: skip
    try:
        yield directory, name, True
    finally:
        os.close(directory)


def _parent(source: Place, path: str, follow: bool) -> tuple[int, str]:
    """The directory of a file, and its name there; with `follow`, of what a link leads to."""
    for _hop in range(40):
        head, _, name = path.rpartition("/")
        directory = source.open(head or "/", os.O_DIRECTORY)
        try:
            link = os.readlink(name, dir_fd=directory) if follow else ""
        except OSError:
            link = ""
        if not link:
            return directory, name
        os.close(directory)
        path = link if link.startswith("/") else f"{head}/{link}"
    raise OSError(40, "too many links", path)


def _destination(
    source: Place, target: Place, name: str, is_directory: bool
) -> tuple[str, bytes]:  # fmt: skip
    """The directory to unpack into, and what the copy is called there; "" is that directory."""
    kind = target.kind(target.path)
    if kind == stat.S_IFDIR:
        contents = is_directory and _contents_only(source)
        return target.path, b"" if contents else os.fsencode(name)
    path = target.path.rstrip("/")
    if kind is not None and is_directory:
        raise CopyFailed(
            f"{target.path} is no directory", cause="a directory can't be copied over it",
            mend="give another name",
        )  # fmt: skip
    if target.path.endswith("/") and not is_directory:
        raise CopyFailed(
            f"there is no directory {target.path}", mend="make it first, or leave the '/' away"
        )
    head, _, last = path.rpartition("/")
    if target.kind(head or "/") != stat.S_IFDIR or last in {"", ".", ".."}:
        raise CopyFailed(f"there is no directory {head or '/'}", mend="make it first")
    return head or "/", os.fsencode(last)


@contextlib.contextmanager
def _told(source: Place) -> Iterator[None]:
    """The source's vanishing in the middle, in words."""
    try:
        yield
    except FileNotFoundError as error:
        raise CopyFailed(
            f"{source.path} vanished meanwhile", cause=str(error), mend="try again"
        ) from error
