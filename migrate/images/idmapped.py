"""Root file systems shown with the ids of a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP).

What lies on the disk has the container's own ids, whatever the map: so layers are shared with
containers of other maps, and what a container wrote means the same on every host.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.images.errors import SnapshotFailed
from migrate.kernel import mounts
from migrate.kernel.namespaces import CLONE_NEWNS, unshare
from migrate.kernel.userns import acting_as

_CAUSES = {
    errno.EINVAL: "its file system can't map ids on this kernel",
    errno.EPERM: "it has id maps already",
    errno.ENOSYS: "idmapped mounts take Linux 5.12",
}


@dataclass(frozen=True)
class IdMap:
    """A user namespace by an open descriptor, and what the ids of its root are on this host."""

    user_namespace: int
    root: tuple[int, int]


def mapped_tree(path: str | os.PathLike[str], ids: IdMap) -> int:
    """A copy of the mount at `path`, mapped and mounted nowhere; raises SnapshotFailed, OSError."""
    tree = mounts.open_tree(os.fspath(path), recursive=False)
    try:
        mounts.set_tree_propagation(tree, mounts.MS_PRIVATE)
        mounts.map_ids(tree, ids.user_namespace, recursive=False)
    except OSError as error:
        os.close(tree)
        raise SnapshotFailed(
            f"{os.fspath(path)} can't be shown with other ids",
            cause=f"{_CAUSES.get(error.errno or 0, 'the kernel refuses')} ({error})",
            mend="put the state directory on another file system (ext4, xfs, btrfs), or run "
            "without a user namespace (--userns host)",
        ) from error
    except BaseException:
        os.close(tree)
        raise
    return tree


def attach(tree: int, place: Path) -> None:
    """Mount what was opened at `place`; raises OSError."""
    descriptor = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mounts.attach_tree(tree, descriptor)
    finally:
        os.close(descriptor)


def overlay_tree(
    lower: Sequence[Path], own: Path, names: tuple[str, str], options: str, ids: IdMap,
    workshop: Path,
) -> int:  # fmt: skip
    """An overlay of mapped layers, mounted nowhere; raises SnapshotFailed, OSError.

    Upper and work are the directories `names` of `own`. overlay wants its layers mounted: that is
    done over the directory `workshop` in a mount namespace of its own, which is gone afterwards,
    whatever becomes of this process.
    """
    return _in_a_thread(lambda: _make_overlay(lower, own, names, options, ids, workshop))


def _make_overlay(
    lower: Sequence[Path], own: Path, names: tuple[str, str], options: str, ids: IdMap,
    workshop: Path,
) -> int:  # fmt: skip
    unshare(CLONE_NEWNS)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    with contextlib.ExitStack() as stack:
        trees = []
        for path in (own, *lower):
            trees.append(mapped_tree(path, ids))
            stack.callback(os.close, trees[-1])
        mounts.mount("tmpfs", workshop, "tmpfs")
        os.chdir(workshop)  # with a mount namespace, the directory is the thread's own as well
        for number, tree in enumerate(trees):
            Path(str(number)).mkdir(0o700)
            attach(tree, Path(str(number)))
        Path("all").mkdir(0o700)
        below = ":".join(str(number) for number in range(1, len(trees)))
        upper, work = (f"0/{name}" for name in names)
        # overlay writes as who has mounted it: root has no ids among those that are mapped.
        with acting_as(*ids.root):
            mounts.mount(
                "overlay", "all", "overlay", 0,
                f"lowerdir={below},upperdir={upper},workdir={work},{options}",
            )  # fmt: skip
        return mounts.open_tree("all", recursive=False)


def _in_a_thread(work: Callable[[], int]) -> int:
    """Its mount namespace and ids are the thread's alone; raises what `work` raises."""
    results: list[int] = []
    raised: list[BaseException] = []

    def carry_out() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 -- raised in the caller's thread
            raised.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return results[0]
