"""What the container's first process does to its mounts, by the specification (config-linux.md).

Built on `runtime/rootfs.py`, which resolves every destination beneath the rootfs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migrate.kernel import mounts
from migrate.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from migrate.oci.sources import ROOT, Trees, is_bind
from migrate.runtime import rootfs

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
PROPAGATIONS = {
    "shared": mounts.MS_SHARED | mounts.MS_REC, "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "slave": mounts.MS_SLAVE | mounts.MS_REC, "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "private": mounts.MS_PRIVATE | mounts.MS_REC, "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}  # fmt: skip
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
Groups = list[tuple[str, str]]  # name below /sys/fs/cgroup ("" for the only v2 tree), directory


def enter(
    directory: str, spec: dict[str, Any], groups: Groups, *, pivot: bool, trees: Trees,
    before_pivot: Callable[[], None],
) -> None:  # fmt: skip
    """Mount all of `spec` over `directory` and make it the root; raises OSError."""
    linux = spec.get("linux") or {}
    wanted = linux.get("rootfsPropagation") or ""
    mounts.mount("", "/", flags=mounts.MS_SLAVE | mounts.MS_REC)
    root = _root(directory, trees.get(ROOT, -1))
    if wanted in {"private", "rprivate"}:
        mounts.mount("", "/", flags=mounts.MS_PRIVATE | mounts.MS_REC)
        mounts.set_tree_propagation(root, mounts.MS_PRIVATE)
    late: list[str] = []
    for index, entry in enumerate(spec.get("mounts") or []):
        _mount(root, entry, groups, late, trees.get(index, -1))
    if not _is_bind_at(spec, "/dev"):
        make_devices(root, linux.get("devices") or [])
    for place in late:
        with _below(root, place) as target:
            rootfs.make_read_only(target)
    before_pivot()
    os.fchdir(root)
    os.close(root)
    if pivot:
        mounts.pivot_root(".", ".")
        mounts.unmount(".", mounts.MNT_DETACH)  # the old root, see runtime/rootfs.py
    else:
        mounts.mount(".", "/", flags=mounts.MS_MOVE)
        os.chroot(".")
    os.chdir("/")


def _root(directory: str, tree: int) -> int:
    """A descriptor of the root file system, which is a mount point now."""
    if tree < 0:
        mounts.mount(directory, directory, flags=mounts.MS_BIND | mounts.MS_REC)
    return rootfs.open_root(directory, tree)


def set_propagation(linux: dict[str, Any]) -> None:
    """`rootfsPropagation`, when nothing more is mounted; other mounts have their own."""
    if wanted := linux.get("rootfsPropagation"):
        mounts.mount("", "/", flags=PROPAGATIONS[wanted] & ~mounts.MS_REC)


def _is_bind_at(spec: dict[str, Any], place: str) -> bool:
    found = [m for m in spec.get("mounts") or [] if m["destination"].rstrip("/") == place]
    return bool(found) and is_bind(found[-1])


@contextlib.contextmanager
def _below(root: int, place: str) -> Any:
    """A path for mount(2) that leads to `place` beneath the root, whatever links there are."""
    descriptor = openat2(root, place, os.O_PATH, resolve=_IN_ROOT)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _mount(
    root: int, entry: dict[str, Any], groups: Groups, late: list[str], tree: int
) -> None:  # fmt: skip
    options = list(entry.get("options") or [])
    kind, place = entry.get("type") or "", entry["destination"]
    entry = entry | {"options": options}
    try:
        if kind in {"cgroup", "cgroup2"} and not is_bind(entry):
            _mount_groups(root, entry, groups)
            return
        if kind == "tmpfs" and rootfs.parse_options(options)[0] & mounts.MS_RDONLY:
            late.append(place)  # its contents are still to come
            entry["options"] = [*options, "rw"]
        if kind == "tmpfs" and not any(option.startswith("mode=") for option in options):
            entry["options"] = [*entry["options"], *_mode_of(root, place)]
        saved = _saved_tree(root, place) if rootfs.COPY_UP in options else None
        rootfs.mount_one(root, entry, tree)
        if saved is not None:
            _copy_up(root, place, saved)
        setting, clearing = rootfs.recursive_attributes(options)
        if setting or clearing:
            descriptor = openat2(root, place, os.O_PATH, resolve=_IN_ROOT)
            mounts.set_tree_attributes(descriptor, setting, clearing)
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"{place}: {error.strerror or error}") from error


def _mode_of(root: int, place: str) -> list[str]:
    """A tmpfs has the mode of the directory that it lies over, as with runc and crun."""
    try:
        descriptor = openat2(root, place, os.O_PATH | os.O_DIRECTORY, resolve=_IN_ROOT)
    except OSError:
        return []
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    return [f"mode={mode:o}"]


def _saved_tree(root: int, place: str) -> int | None:
    """The directory that a tmpfs with `tmpcopyup` will lie over; None if there is none."""
    try:
        return openat2(root, place, os.O_RDONLY | os.O_DIRECTORY, resolve=_IN_ROOT)
    except FileNotFoundError:
        return None


def _copy_up(root: int, place: str, saved: int) -> None:
    with _below(root, place) as target:
        for name in os.listdir(saved):
            source = f"/proc/self/fd/{saved}/{name}"
            if os.path.isdir(source) and not os.path.islink(source):
                shutil.copytree(source, f"{target}/{name}", symlinks=True)
            else:
                shutil.copy2(source, f"{target}/{name}", follow_symlinks=False)
        status = os.fstat(saved)
        os.chmod(target, stat.S_IMODE(status.st_mode))
    os.close(saved)


def _mount_groups(root: int, entry: dict[str, Any], groups: Groups) -> None:
    """The container's own groups: one bind mount a hierarchy, in a tmpfs if there are several."""
    place = entry["destination"]
    flags, propagation, _data = rootfs.parse_options(entry["options"])
    if entry["type"] == "cgroup2" or [name for name, _ in groups] == [""]:
        groups = [("", groups[-1][1])]
    os.close(rootfs.make_place(root, place, directory=True))
    if len(groups) > 1:
        with _below(root, place) as target:
            own = flags & ~(mounts.MS_RDONLY | mounts.MS_RELATIME)
            mounts.mount("tmpfs", target, "tmpfs", own, "mode=755")
    for name, directory in groups:
        below = f"{place}/{name}".rstrip("/")
        os.close(rootfs.make_place(root, below, directory=True))
        with _below(root, below) as target:
            mounts.mount(directory, target, flags=mounts.MS_BIND)
        with _below(root, below) as target:
            rootfs.remount_bind(target, flags & ~mounts.MS_REC)
    with _below(root, place) as target:
        if len(groups) > 1 and flags & mounts.MS_RDONLY:
            rootfs.remount_bind(target, flags)
        if propagation:
            mounts.mount("", target, flags=propagation)


def make_devices(root: int, wanted: list[dict[str, Any]]) -> None:
    """The default devices, those of `linux.devices`, and the links of /dev."""
    rootfs.make_devices(root)
    for entry in wanted:
        if entry["path"] == "/dev/ptmx":  # always that of the container's own devpts
            continue
        try:
            _make_device(root, entry)
        except PermissionError:
            rootfs.bind_device(root, entry["path"])


def _make_device(root: int, entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    mode = entry.get("fileMode")
    mode = 0o666 if mode is None else int(mode)
    number = os.makedev(int(entry.get("major") or 0), int(entry.get("minor") or 0))
    holder = rootfs.make_place(root, str(path.parent), directory=True)
    try:
        with contextlib.suppress(FileExistsError):
            os.mknod(path.name, _TYPES[entry["type"]] | mode, number, dir_fd=holder)
        status = os.stat(path.name, dir_fd=holder, follow_symlinks=False)
        wanted = (_TYPES[entry["type"]], 0 if entry["type"] == "p" else number)
        if (stat.S_IFMT(status.st_mode), status.st_rdev) != wanted:
            raise OSError(17, f"{path} is there already and is another thing")
        os.chmod(f"/proc/self/fd/{holder}/{path.name}", mode)
        ids = int(entry.get("uid") or 0), int(entry.get("gid") or 0)
        os.chown(path.name, *ids, dir_fd=holder, follow_symlinks=False)
    finally:
        os.close(holder)
