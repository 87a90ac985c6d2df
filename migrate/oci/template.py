"""spec: a config.json to begin with."""

from __future__ import annotations

import json
import os
from typing import Any

from migrate.oci.errors import NotAllowedNow
from migrate.runtime.usual import Options, build

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_GROUPS = {
    "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
}  # fmt: skip
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def spec(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Write config.json; raises NotAllowedNow where there is one."""
    path = os.path.join(values["bundle"], "config.json")
    made = build(Options(arguments=["sh"], environment=["TERM=xterm"], host_name="migrate"))
    made["process"]["terminal"] = True
    made["process"]["capabilities"] = dict.fromkeys(
        ("bounding", "effective", "permitted"), _CAPABILITIES
    )
    made["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
    made["root"]["readonly"] = True
    made["mounts"].append(_GROUPS)
    made["linux"]["namespaces"] = [{"type": name} for name in _NAMESPACES]
    made["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    if values["rootless"]:
        made["linux"]["namespaces"].append({"type": "user"})
        for key, number in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            made["linux"][key] = [{"containerID": 0, "hostID": number, "size": 1}]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise NotAllowedNow(
            f"file {path} exists", mend="remove it first, or give another --bundle"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(made, file, indent="\t")
