"""Root file system and sources of bind mounts, opened before the container's namespaces are there.

So they are where the container's user namespace may not search the host's directories, and where a
mount has id maps of its own: only a process of the host may set those (mount_setattr(2)).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from migrate.kernel import mounts
from migrate.kernel.namespaces import CLONE_NEWUSER, unshare
from migrate.oci.errors import SetupFailed
from migrate.oci.joining import write_maps
from migrate.runtime.rootfs import ID_MAPS

Trees = dict[int, int]  # index in `mounts` of the specification -> what `mounts.open_tree` gave
ROOT = -1  # the index of the root file system


def is_bind(entry: dict[str, Any]) -> bool:
    """Whether a mount of the specification is a bind mount."""
    return entry.get("type") == "bind" or bool({"bind", "rbind"} & set(entry.get("options") or []))


def is_mapped(entry: dict[str, Any]) -> bool:
    """Whether it shall have id maps (config.md, "Mounts": idmap, uidMappings)."""
    wanted = set(ID_MAPS) & set(entry.get("options") or [])
    return bool(wanted or entry.get("uidMappings") or entry.get("gidMappings"))


@contextlib.contextmanager
def opened(spec: dict[str, Any], rootfs: str) -> Iterator[Trees]:
    """Those that the container's first process can't open itself; raises SetupFailed."""
    linux = spec.get("linux") or {}
    namespaces = {e["type"]: str(e.get("path") or "") for e in linux.get("namespaces") or []}
    trees: Trees = {}
    try:
        if "user" in namespaces and not namespaces.get("mount"):
            trees[ROOT] = _open(rootfs, "root", recursive=True)
        for index, entry in enumerate(spec.get("mounts") or []):
            if is_bind(entry) and not namespaces.get("mount"):
                if "user" in namespaces or is_mapped(entry):
                    options = entry.get("options") or []
                    trees[index] = _open(
                        entry["source"], f"mount {entry['destination']}",
                        recursive="rbind" in options,
                    )  # fmt: skip
                if is_mapped(entry):
                    _map(entry, trees[index], linux, namespaces)
        yield trees
    finally:
        for tree in trees.values():
            os.close(tree)


def _open(source: str, name: str, *, recursive: bool) -> int:
    """A copy that gets the host's further mounts and gives none back."""
    try:
        tree = mounts.open_tree(source, recursive=recursive)
    except OSError as error:
        raise SetupFailed(
            f"the source of the {name} can't be opened",
            cause=f"{source}: {os.strerror(error.errno or 0)}",
        ) from error
    try:
        mounts.set_tree_propagation(tree, mounts.MS_SLAVE)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _map(
    entry: dict[str, Any], tree: int, linux: dict[str, Any], namespaces: dict[str, str]
) -> None:
    options = entry.get("options") or []
    own = entry if entry.get("uidMappings") else linux
    try:
        if own is linux and namespaces.get("user"):
            holder = os.open(namespaces["user"], os.O_RDONLY | os.O_CLOEXEC)
        else:
            holder = _user_namespace(own)
        try:
            mounts.map_ids(tree, holder, recursive="ridmap" in options)
        finally:
            os.close(holder)
    except OSError as error:
        cause = {
            errno.EINVAL: "its file system can't map ids on this kernel",
            errno.EPERM: "it has id maps already, or the ids given are none of this host",
            errno.ENOSYS: "it takes Linux 5.12",
        }.get(error.errno or 0, str(error))
        raise SetupFailed(
            f"the mount {entry['destination']} can't be idmapped", cause=f"{cause} ({error})",
            mend="take idmap and its mappings from this mount, or move its source",
        ) from error  # fmt: skip


def _user_namespace(mappings: dict[str, Any]) -> int:
    """A descriptor of a new user namespace with uidMappings and gidMappings; raises OSError."""
    ours, theirs = os.pipe()
    until, release = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(release)
            unshare(CLONE_NEWUSER)
            os.write(theirs, b"x")
            os.read(until, 1)
        finally:
            os._exit(0)
    try:
        os.close(theirs)
        os.close(until)
        if not os.read(ours, 1):
            raise OSError(errno.ENOSPC, "a user namespace can't be made")
        write_maps(child, mappings)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ours)
        os.close(release)
        os.waitpid(child, 0)
