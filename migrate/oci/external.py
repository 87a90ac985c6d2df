"""Mounts of a container that CRIU must neither dump nor make: what they are, and where from.

A key `mnt[PLACE]` at the dump has a source at the restore (CRIU, "External bind mounts"). What is
recorded says which mount of the specification it is; the source is that of the bundle at hand.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from migrate.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from migrate.kernel.mountinfo import MountInfo
from migrate.oci.errors import BadImage
from migrate.oci.filesystem import Groups
from migrate.oci.sources import is_bind
from migrate.runtime import rootfs

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


class External(NamedTuple):
    """One mount at `place`, `below` the mount of the specification at `destination`.

    Kinds: "bind"; "group", a directory of the control group; "mask", a masked file; "device", a
    device of the host's.
    """

    place: str
    kind: str
    destination: str = ""
    below: str = ""


def found(spec: dict[str, Any], pid: int, seen: list[MountInfo]) -> list[External]:
    """Those among the mounts that a container's first process sees; raises OSError."""
    by_id = {mount.mount_id: mount for mount in seen}
    wanted = {}  # mount id -> destination
    for entry in spec.get("mounts") or []:
        if is_bind(entry):
            with contextlib.suppress(OSError):
                wanted[_mount_at(pid, entry["destination"])] = entry
    masked = set((spec.get("linux") or {}).get("maskedPaths") or [])
    listed = []
    for mount in seen:
        if mount.mount_point == "/":
            continue
        if mount.mount_id in wanted:
            destination = wanted[mount.mount_id]["destination"]
            listed.append(External(mount.mount_point, "bind", destination))
        elif mount.fs_type in {"cgroup", "cgroup2"}:
            listed.append(_group(spec, mount.mount_point))
        elif mount.fs_type == "devtmpfs" or _is_null(pid, mount, masked):
            kind = "mask" if mount.mount_point in masked else "device"
            listed.append(External(mount.mount_point, kind))
        elif holder := _holder(mount, by_id, wanted):
            listed.append(_below(mount, holder, wanted[holder.mount_id]))
    return [entry for entry in listed if entry.place]


def _mount_at(pid: int, path: str) -> int:
    """The id of the mount that a path in the container lies on."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = openat2(root, path, os.O_PATH, resolve=_IN_ROOT)
    finally:
        os.close(root)
    try:
        with open(f"/proc/self/fdinfo/{place}") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(place)


def _is_null(pid: int, mount: MountInfo, masked: set[str]) -> bool:
    return mount.mount_point in masked and not os.path.isdir(f"/proc/{pid}/root{mount.mount_point}")


def _group(spec: dict[str, Any], place: str) -> External:
    for entry in spec.get("mounts") or []:
        destination = entry["destination"].rstrip("/")
        if entry.get("type") in {"cgroup", "cgroup2"} and f"{place}/".startswith(f"{destination}/"):
            return External(place, "group", entry["destination"], place[len(destination) + 1 :])
    return External("", "")


def _holder(
    mount: MountInfo, by_id: dict[int, MountInfo], wanted: dict[int, dict[str, Any]]
) -> MountInfo | None:
    """The bind mount that a mount lies below, directly or not."""
    above = by_id.get(mount.parent_id)
    while above and above.mount_point != "/":
        if above.mount_id in wanted:
            return above
        above = by_id.get(above.parent_id)
    return None


def _below(mount: MountInfo, holder: MountInfo, entry: dict[str, Any]) -> External:
    """A mount that came along with a recursive bind; none, if the container made it itself."""
    below = mount.mount_point.removeprefix(holder.mount_point).lstrip("/")
    with contextlib.suppress(OSError):
        device = os.stat(f"{entry['source']}/{below}").st_dev
        if f"{os.major(device)}:{os.minor(device)}" == mount.device:
            return External(mount.mount_point, "bind", entry["destination"], below)
    return External("", "")


def source_of(entry: External, spec: dict[str, Any], groups: Groups) -> str:
    """Where a mount comes from on this host, by the bundle's specification; raises BadImage."""
    if entry.kind == "mask":
        return "/dev/null"
    if entry.kind == "device" and entry.place in _devices(spec):
        return entry.place
    if entry.kind == "group":
        for name, directory in groups:
            if name == entry.below:
                return directory
    if entry.kind == "bind" and ".." not in entry.below.split("/"):
        for mount in spec.get("mounts") or []:
            if is_bind(mount) and mount["destination"] == entry.destination:
                return f"{mount['source']}/{entry.below}".rstrip("/")
    raise BadImage(
        f"the checkpoint has a mount at {entry.place} that this bundle or host has not",
        cause=f"it was {entry.kind} {entry.destination}", mend="restore it with its own bundle",
    )  # fmt: skip


def _devices(spec: dict[str, Any]) -> set[str]:
    own = (spec.get("linux") or {}).get("devices") or []
    return {f"/dev/{name}" for name, _, _ in rootfs.DEVICES} | {str(d["path"]) for d in own}


def make_places(root: str, spec: dict[str, Any]) -> None:
    """The mounts' places in a root file system that may have none of them yet; raises OSError."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        covered: list[str] = []
        for entry in spec.get("mounts") or []:
            place = entry["destination"].rstrip("/")
            if not any(f"{place}/".startswith(f"{above}/") for above in covered):
                directory = not is_bind(entry) or os.path.isdir(entry["source"])
                with _read_only_is_fine():
                    os.close(rootfs.make_place(descriptor, place, directory=directory))
                covered.append(place)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _read_only_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != 30:  # EROFS: CRIU says what is missing there
            raise
