"""Where a container's mounts may be: what an image or a volume could turn against the host.

Runs in init, before pivot_root: standard library and kernel wrappers only.
"""

from __future__ import annotations

import os
import stat

from migrate.kernel import mounts
from migrate.kernel.procfiles import is_procfs

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

NULL = os.makedev(1, 3)  # Documentation/admin-guide/devices.txt
# What is bound over files of /proc without hiding what the runtime itself relies on (lxcfs; runc,
# libcontainer's validProcMounts).
_SHOWN_IN_PROC = frozenset({
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps",
    "/proc/uptime", "/proc/loadavg", "/proc/slabinfo", "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
})  # fmt: skip
_ORDINARY = ("proc", "sysfs")


def check_place(root: int, place: int, entry: dict[str, Any], *, bind: bool) -> None:
    """Raise OSError unless the mount may be at the descriptor `place`, beneath `root`.

    A mount over a file of /proc would take what we write there to another file (CVE-2019-16884);
    a /proc or /sys behind a link would be a directory of the image's choice (CVE-2019-19921).
    """
    kind = "" if bind else entry.get("type", "")
    found = _path_below(root, place)
    if kind in _ORDINARY:
        wanted = os.path.normpath("/" + entry["destination"].lstrip("/"))
        if found != wanted:
            raise OSError(40, f"filesystem {kind!r} must be mounted on ordinary directory")
        return
    if found == "/proc":
        if not (bind and _shows_procfs(entry.get("source", ""))):
            raise OSError(1, "it cannot be mounted because it is not of type proc")
    elif found.startswith("/proc/") and found not in _SHOWN_IN_PROC:
        raise OSError(1, f"{found} cannot be mounted because it is inside /proc")


def _path_below(root: int, place: int) -> str:
    top, found = (os.readlink(f"/proc/self/fd/{number}") for number in (root, place))
    return "/" + found[len(top.rstrip("/")) :].lstrip("/")


def _shows_procfs(source: str) -> bool:
    descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        return is_procfs(descriptor, root=True)
    finally:
        os.close(descriptor)


def null_tree() -> int:
    """A mount of /dev/null, to be attached; raises OSError unless it is that (CVE-2025-31133)."""
    place = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != NULL:
            raise OSError(40, "/dev/null is not the null device, which masks files")
        return mounts.open_tree_of(place)
    finally:
        os.close(place)
