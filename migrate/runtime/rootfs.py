"""What init does to its mount namespace: mounts, devices, pivot_root, masked and read-only paths.

Runs in the forked child of the monitor: standard library and kernel wrappers only. Destinations are
resolved by the kernel beneath the rootfs (openat2 RESOLVE_IN_ROOT), so no link leads out of it.
"""

from __future__ import annotations

import os
import stat

from migrate.kernel import mounts
from migrate.kernel.bare import contextlib
from migrate.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from migrate.runtime.mountplaces import check_place, null_tree

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

# Option -> (flag, whether the option clears it); config.md, "Linux mount options".
_FLAGS = {
    "ro": (mounts.MS_RDONLY, False), "rw": (mounts.MS_RDONLY, True),
    "nosuid": (mounts.MS_NOSUID, False), "suid": (mounts.MS_NOSUID, True),
    "nodev": (mounts.MS_NODEV, False), "dev": (mounts.MS_NODEV, True),
    "noexec": (mounts.MS_NOEXEC, False), "exec": (mounts.MS_NOEXEC, True),
    "sync": (mounts.MS_SYNCHRONOUS, False), "async": (mounts.MS_SYNCHRONOUS, True),
    "noatime": (mounts.MS_NOATIME, False), "atime": (mounts.MS_NOATIME, True),
    "nodiratime": (mounts.MS_NODIRATIME, False), "diratime": (mounts.MS_NODIRATIME, True),
    "relatime": (mounts.MS_RELATIME, False),
    "strictatime": (mounts.MS_STRICTATIME, False), "nostrictatime": (mounts.MS_STRICTATIME, True),
    "bind": (mounts.MS_BIND, False), "rbind": (mounts.MS_BIND | mounts.MS_REC, False),
    "dirsync": (mounts.MS_DIRSYNC, False), "defaults": (0, False),
    "mand": (mounts.MS_MANDLOCK, False), "nomand": (mounts.MS_MANDLOCK, True),
    "iversion": (mounts.MS_I_VERSION, False), "noiversion": (mounts.MS_I_VERSION, True),
    "silent": (mounts.MS_SILENT, False), "loud": (mounts.MS_SILENT, True),
    "nosymfollow": (mounts.MS_NOSYMFOLLOW, False), "symfollow": (mounts.MS_NOSYMFOLLOW, True),
    "remount": (mounts.MS_REMOUNT, False), "norelatime": (mounts.MS_RELATIME, True),
}  # fmt: skip
_PROPAGATION = {
    "private": mounts.MS_PRIVATE, "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE, "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED, "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE, "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}  # fmt: skip
# For a mount and all below it (mount_setattr(2)): option -> (attribute, whether it clears it).
_RECURSIVE = {
    "rro": (mounts.ATTR_RDONLY, False), "rrw": (mounts.ATTR_RDONLY, True),
    "rnosuid": (mounts.ATTR_NOSUID, False), "rsuid": (mounts.ATTR_NOSUID, True),
    "rnodev": (mounts.ATTR_NODEV, False), "rdev": (mounts.ATTR_NODEV, True),
    "rnoexec": (mounts.ATTR_NOEXEC, False), "rexec": (mounts.ATTR_NOEXEC, True),
    "rnodiratime": (mounts.ATTR_NODIRATIME, False), "rdiratime": (mounts.ATTR_NODIRATIME, True),
    "rnosymfollow": (mounts.ATTR_NOSYMFOLLOW, False), "rsymfollow": (mounts.ATTR_NOSYMFOLLOW, True),
}  # fmt: skip
_ACCESS_TIMES = {
    "rrelatime": 0, "rnoatime": mounts.ATTR_NOATIME, "rstrictatime": mounts.ATTR_STRICTATIME,
    "ratime": 0, "rnorelatime": 0, "rnostrictatime": 0,
}  # fmt: skip
COPY_UP = "tmpcopyup"
ID_MAPS = ("idmap", "ridmap")
KNOWN_OPTIONS = {*_FLAGS, *_PROPAGATION, *_RECURSIVE, *_ACCESS_TIMES, COPY_UP, *ID_MAPS}
DEVICES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
    ("tty", 5, 0),
)  # fmt: skip
_LINKS = (
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"), ("core", "/proc/kcore"),
)  # fmt: skip
_ST_NOSYMFOLLOW = 0x2000  # include/linux/statfs.h
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


def parse_options(options: list[str]) -> tuple[int, int, str]:
    """Mount flags, propagation flags, and the data string for the file system."""
    flags = propagation = 0
    data = []
    for option in options:
        if option in _FLAGS:
            flag, clears = _FLAGS[option]
            flags = flags & ~flag if clears else flags | flag
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        elif option in KNOWN_OPTIONS:
            continue
        else:
            data.append(option)
    return flags, propagation, ",".join(data)


def recursive_attributes(options: list[str]) -> tuple[int, int]:
    """Attributes to set and to clear on a mount and all below it, of options such as "rro"."""
    setting = clearing = 0
    for option in options:
        if option in _RECURSIVE:
            attribute, clears = _RECURSIVE[option]
            setting, clearing = (
                (setting & ~attribute, clearing | attribute) if clears
                else (setting | attribute, clearing & ~attribute)
            )  # fmt: skip
        elif option in _ACCESS_TIMES:
            setting = setting & ~mounts.ATTR_ATIME | _ACCESS_TIMES[option]
            clearing |= mounts.ATTR_ATIME
    return setting, clearing


def make_place(root: int, path: str, *, directory: bool) -> int:
    """An O_PATH descriptor of `path` beneath the descriptor `root`; what is missing is made."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    for depth, part in enumerate(parts):
        parent = "/".join(parts[:depth]) or "."
        last = depth == len(parts) - 1
        with contextlib.suppress(FileExistsError):
            holder = openat2(root, parent, os.O_PATH | os.O_DIRECTORY, resolve=_IN_ROOT)
            try:
                if last and not directory:
                    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                    os.close(os.open(part, flags, 0o644, dir_fd=holder))
                else:
                    os.mkdir(part, 0o755, dir_fd=holder)
            finally:
                os.close(holder)
    return openat2(root, path or ".", os.O_PATH, resolve=_IN_ROOT)


def mount_one(root: int, entry: dict[str, Any], tree: int = -1) -> None:
    """Carry out one mount of the specification; raises OSError.

    `tree` is what a bind mount shows, if it has been opened before (`mounts.open_tree`).
    """
    flags, propagation, data = parse_options(entry.get("options", []))
    kind, source = entry.get("type", ""), entry.get("source", "")
    if kind == "cgroup":  # as if it were masked: version 1 would mount all controllers at once
        return
    bind = bool(flags & mounts.MS_BIND) or kind == "bind"
    if bind:
        flags |= mounts.MS_BIND
    shown = stat.S_ISDIR(os.fstat(tree).st_mode) if tree >= 0 else os.path.isdir(source)
    place = make_place(root, entry["destination"], directory=not bind or shown)
    try:
        check_place(root, place, entry, bind=bind)
        target = f"/proc/self/fd/{place}"
        if tree >= 0:
            mounts.attach_tree(tree, place)
        elif bind:
            mounts.mount(source, target, flags=flags & (mounts.MS_BIND | mounts.MS_REC))
        else:
            mounts.mount(source or kind, target, kind, flags, data)
    finally:
        os.close(place)
    extra = flags & ~(mounts.MS_BIND | mounts.MS_REC)
    if (bind and extra) or propagation:
        # The descriptor of before shows what lies beneath the new mount: look it up again.
        place = openat2(root, entry["destination"], os.O_PATH, resolve=_IN_ROOT)
        try:
            if bind and extra:
                remount_bind(f"/proc/self/fd/{place}", extra)
                if extra & mounts.MS_RDONLY and flags & mounts.MS_REC:
                    mounts.make_tree_read_only(place)
            if propagation:
                mounts.mount("", f"/proc/self/fd/{place}", flags=propagation)
        finally:
            os.close(place)


def remount_bind(target: str, flags: int) -> None:
    """Change a mount's own flags; those that a user namespace may not clear are kept."""
    remount = mounts.MS_REMOUNT | mounts.MS_BIND | flags
    try:
        mounts.mount("", target, flags=remount)
    except PermissionError:  # mount_namespaces(7), "Restrictions on mount namespaces"
        mounts.mount("", target, flags=remount | _kept_flags(target))


def make_devices(root: int) -> None:
    """The default devices and links of config-linux.md in /dev."""
    place = make_place(root, "dev", directory=True)
    try:
        for name, major, minor in DEVICES:
            with contextlib.suppress(FileExistsError):
                os.mknod(name, 0o666 | stat.S_IFCHR, os.makedev(major, minor), dir_fd=place)
                _open_to_all(place, name)
    except PermissionError:  # in a user namespace nobody makes devices: the host's are bound
        for name, _major, _minor in DEVICES:
            bind_device(root, f"/dev/{name}")
    finally:
        os.close(place)
    make_links(root)


def bind_device(root: int, path: str) -> None:
    """Bind a device of the host at its own path beneath the root; raises OSError."""
    place = make_place(root, path, directory=False)
    try:
        mounts.mount(path, f"/proc/self/fd/{place}", flags=mounts.MS_BIND)
    finally:
        os.close(place)


def _open_to_all(place: int, name: str) -> None:
    """Mode 0666, whatever the umask; by a descriptor of it: a link may have taken its place."""
    device = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        if stat.S_ISCHR(os.fstat(device).st_mode):
            os.chmod(f"/proc/self/fd/{device}", 0o666)  # noqa: S103 -- devices are for all
    finally:
        os.close(device)


def make_links(root: int) -> None:
    """The default links of config-linux.md in /dev."""
    place = make_place(root, "dev", directory=True)
    try:
        for name, target in _LINKS:
            if name == "core" and not os.path.exists(target):  # CONFIG_PROC_KCORE
                continue
            with contextlib.suppress(FileExistsError):
                os.symlink(target, name, dir_fd=place)
    finally:
        os.close(place)


def enter(rootfs: str, spec: dict[str, Any], trees: dict[int, int]) -> None:
    """Set up the mounts of `spec` over `rootfs` and make it the root; raises OSError.

    `trees`: what has been opened before (`mounts.open_tree`), the sources of bind mounts by their
    index and the root file system as -1; for a user namespace, which can't reach their places.
    """
    mounts.mount("", "/", flags=mounts.MS_PRIVATE | mounts.MS_REC)
    root = open_root(rootfs, trees.get(-1, -1))
    for index, entry in enumerate(spec.get("mounts", [])):
        mount_one(root, entry, trees.get(index, -1))
    make_devices(root)
    os.fchdir(root)
    mounts.pivot_root(".", ".")
    # The old root now lies over the new one at "."; taking it off leaves the new one
    # (pivot_root(2), "pivot_root(".", ".")").
    mounts.unmount(".", mounts.MNT_DETACH)
    os.chdir("/")
    os.close(root)


def open_root(directory: str, tree: int) -> int:
    """A descriptor of the root file system; `tree`, where it has been opened before, else -1.

    Such a one lies on our own root then: nobody has to be able to reach its directory.
    """
    if tree < 0:
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    place = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach_tree(tree, place)
    os.close(place)
    return os.dup(tree)


def hide(linux: dict[str, Any]) -> None:
    """Mask and make read-only what the specification names; what is not there is passed over."""
    for path in linux.get("maskedPaths", []):
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path):
                mounts.mount("tmpfs", path, "tmpfs", mounts.MS_RDONLY)
            else:
                _mask(os.open(path, os.O_PATH | os.O_CLOEXEC))
    for path in linux.get("readonlyPaths", []):
        with contextlib.suppress(FileNotFoundError):
            mounts.mount(path, path, flags=mounts.MS_BIND | mounts.MS_REC)
            make_read_only(path)


def _mask(place: int) -> None:
    tree = null_tree()
    try:
        mounts.attach_tree(tree, place)
    finally:
        os.close(tree)
        os.close(place)


def bind_console() -> None:
    """The terminal on descriptor 0 at /dev/console (config-linux.md, "Default Devices").

    By descriptors: neither end may be a link of the image's (CVE-2025-52565). Raises OSError.
    """
    with contextlib.suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open("/dev/console", flags, 0o666))
    place = os.open("/dev/console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISLNK(os.fstat(place).st_mode):
            raise OSError(40, "/dev/console is a link")
        tree = mounts.open_tree_of(0)
        mounts.attach_tree(tree, place)
        os.close(tree)
    finally:
        os.close(place)


def make_read_only(target: str) -> None:
    """Make the mount at `target` read-only; its other flags stay as they are."""
    flags = mounts.MS_BIND | mounts.MS_REMOUNT | mounts.MS_RDONLY
    mounts.mount("", target, flags=flags | _kept_flags(target))


def _kept_flags(path: str) -> int:
    """The flags of the mount that `path` lies on, which a remount must repeat."""
    found = os.statvfs(path).f_flag
    pairs = (
        (os.ST_NOSUID, mounts.MS_NOSUID), (os.ST_NODEV, mounts.MS_NODEV),
        (os.ST_NOEXEC, mounts.MS_NOEXEC), (_ST_NOSYMFOLLOW, mounts.MS_NOSYMFOLLOW),
    )  # fmt: skip
    return sum(flag for status, flag in pairs if found & status)
