"""Init's way into its user namespace: what needs the host's rights is opened before it is entered.

Runs in the monitor and its forks: standard library and kernel wrappers only.
"""

from __future__ import annotations

import os

from migrate.kernel import mounts, userns

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

ROOT = -1  # the index of the root file system among the trees (`rootfs.enter`)


def root_of(spec: dict[str, Any]) -> tuple[int, int]:
    """The host's ids of the root of its user namespace; raises KeyError where there is none."""
    found = []
    for key in ("uidMappings", "gidMappings"):
        ids = {entry["containerID"]: entry["hostID"] for entry in spec["linux"][key]}
        found.append(int(ids[0]))
    return found[0], found[1]


def fork_mapped(launch: dict[str, Any], streams: tuple[int, int, int], flags: int) -> int:
    """Fork init into the namespace of `launch` and those of `flags`; 0 in init. Raises OSError.

    There `launch` has more: `doors` to its control groups, `trees`, the root file system and the
    sources of bind mounts by their index, and `become_root`, since init can load nothing any more.
    """

    def before() -> None:
        root = root_of(launch["spec"])
        flags = os.O_WRONLY | os.O_CLOEXEC
        launch["doors"] = [os.open(f"{name}/cgroup.procs", flags) for name in launch["cgroups"]]
        launch["trees"] = _open_trees(launch)
        launch["become_root"] = userns.become_root
        os.chown(launch["fifo"], *root)
        give_streams(launch, streams)

    return userns.fork_within(launch["userns"], flags, before)


def give_streams(launch: dict[str, Any], streams: tuple[int, int, int]) -> None:
    """They are its root's, who hands them on to its user; raises OSError."""
    for stream in streams:
        if stream >= 0:
            os.fchown(stream, *root_of(launch["spec"]))


def _open_trees(launch: dict[str, Any]) -> dict[int, int]:
    trees = {ROOT: mounts.open_tree(launch["rootfs"], recursive=False)}
    namespace = os.open(launch["userns"], os.O_RDONLY | os.O_CLOEXEC)
    for index, entry in enumerate(launch["spec"].get("mounts", [])):
        options = entry.get("options", [])
        if "bind" in options or "rbind" in options or entry.get("type") == "bind":
            mapped = "idmap" in options
            trees[index] = mounts.open_tree(
                entry["source"], recursive="rbind" in options and not mapped
            )
            if mapped:
                mounts.map_ids(trees[index], namespace, recursive=False)
    os.close(namespace)
    for tree in trees.values():
        mounts.set_tree_propagation(tree, mounts.MS_PRIVATE)
    return trees
