"""The directories of a container's control group, for `exec`: found without loading libraries."""

from __future__ import annotations

import os

from migrate.runtime.cgroups import tree
from migrate.runtime.errors import CgroupFailed

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any


def directories(state: dict[str, Any], below: list[str]) -> list[str]:
    """Those that `exec` joins; `below` as in its --cgroup. Raises CgroupFailed."""
    group = state["cgroup"]
    found = [*tree.detect().directories(group["parent"], group["name"]), *group.get("also", [])]
    for word in below:
        controllers, _, path = word.rpartition(":")
        wanted = set(controllers.split(",")) if controllers else None
        for number, directory in enumerate(found):
            name = os.path.basename(directory[: directory.index(group["parent"])].rstrip("/"))
            if wanted is None or wanted & set(name.split(",")):
                found[number] = os.path.normpath(f"{directory}/{path.lstrip('/')}")
                if not found[number].startswith(directory) or not os.path.isdir(found[number]):
                    raise CgroupFailed(f"there is no control group {word} in the container")
    return found
