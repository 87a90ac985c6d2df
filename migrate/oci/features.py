"""features: what this runtime knows, as JSON (features.md and features-linux.md)."""

from __future__ import annotations

import json
import sys
from typing import Any

from migrate.kernel.capabilities import NAMES as CAPABILITIES
from migrate.kernel.scheduling import MEMORY_FLAGS, MEMORY_MODES
from migrate.oci.checking import NAMESPACES
from migrate.oci.hooks import KINDS
from migrate.runtime import seccomp
from migrate.runtime.rootfs import KNOWN_OPTIONS

_OLDEST, _NEWEST = "1.0.0", "1.2.0"


def features(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Print them."""
    flags = sorted(seccomp.FLAGS)
    disabled = {"enabled": False}
    told = {
        "ociVersionMin": _OLDEST,
        "ociVersionMax": _NEWEST,
        "hooks": list(KINDS),
        "mountOptions": sorted(KNOWN_OPTIONS),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {
                "v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": False,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": disabled,
            "intelRdt": disabled,
            "memoryPolicy": {"modes": sorted(MEMORY_MODES), "flags": sorted(MEMORY_FLAGS)},
            "netDevices": {"enabled": True},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }  # fmt: skip
    sys.stdout.write(json.dumps(told, indent=4) + "\n")
