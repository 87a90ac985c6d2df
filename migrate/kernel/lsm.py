"""Which security module confines processes on this host, and as what (AppArmor, SELinux).

CRIU looks in the same places (criu/lsm.c, kerndat_lsm and collect_lsm_profile).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

APPARMOR, SELINUX, NONE = "apparmor", "selinux", "none"
UNCONFINED = "unconfined"
_STACKED = "//&"  # apparmor(7): two profiles at once


def module(root: str = "/sys") -> str:
    """APPARMOR, SELINUX or NONE."""
    for name, place in ((APPARMOR, "kernel/security/apparmor"), (SELINUX, "fs/selinux")):
        if os.path.isdir(f"{root}/{place}"):
            return name
    return NONE


def loaded_profiles(root: str = "/sys") -> tuple[str, ...]:
    """The names of AppArmor's profiles that are loaded; none where root is not told."""
    try:
        with open(f"{root}/kernel/security/apparmor/profiles") as file:
            return tuple(sorted(_without_mode(line) for line in file if line.strip()))
    except OSError:
        return ()


def labels(pids: Iterable[int], root: str = "/proc") -> tuple[str, ...]:
    """What confines these processes, each once: AppArmor's profiles, SELinux's contexts."""
    found = set()
    for pid in pids:
        # Without a module that keeps labels, reading says EINVAL.
        with contextlib.suppress(OSError), open(f"{root}/{pid}/attr/current") as file:
            for label in _without_mode(file.read().rstrip("\0")).split(_STACKED):
                found.add(label)
    return tuple(sorted(found - {"", UNCONFINED}))


def _without_mode(line: str) -> str:
    """`NAME (enforce)` is NAME."""
    return line.strip().partition(" (")[0]
