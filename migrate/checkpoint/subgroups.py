"""Control groups that a container has made inside its own: read while it is frozen, made again.

CRIU leaves control groups alone here (`manage_cgroups` with IGNORE): the container's own group is
made and limited by its record. What its processes have made below that, limited, and moved
themselves into, goes along here. Which group a thread of its own is in (version 1's `tasks`,
version 2's threaded groups) does not: it comes back in its process's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from migrate.checkpoint.errors import PlaceUnfit
from migrate.kernel.processes import status_fields
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import detect

MOST = 1000
"""Groups and processes of a checkpoint; more is taken for damage."""
_PROCESSES = "cgroup.procs"
_ENABLED = "cgroup.subtree_control"
# Linux, Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst: what can be read and written back.
_VALUES = {
    "pids": ("pids.max",),
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
               "memory.soft_limit_in_bytes", "memory.swappiness"),
    "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "blkio": ("blkio.weight",),
    "": ("cgroup.max.depth", "cgroup.max.descendants", "pids.max", "cpu.weight", "cpu.max",
         "cpuset.cpus", "cpuset.mems", "memory.min", "memory.low", "memory.high", "memory.max",
         "io.weight"),
}  # fmt: skip
_LONGEST = 4096  # bytes of a path or a value


class Subgroup(msgspec.Struct, frozen=True):
    """One group of one hierarchy, `path` below the container's own ("" is that itself).

    `controller` names the hierarchy: one of version 1, "" for version 2. `pids` are those of the
    container's namespace.
    """

    controller: str
    path: str
    values: dict[str, str] = {}
    pids: tuple[int, ...] = ()
    enabled: str = ""  # version 2: controllers for the groups below
    owner: tuple[int, int] = (0, 0)


def check(groups: tuple[Subgroup, ...]) -> None:
    """Raises ValueError for what no dump writes."""
    if len(groups) > MOST or sum(len(group.pids) for group in groups) > MOST * MOST:
        raise ValueError("too many control groups")
    for group in groups:
        parts = group.path.split("/") if group.path else []
        if len(group.path) > _LONGEST or not all(map(_is_name, parts)):
            raise ValueError(f"no control group's name: {group.path[:100]!r}")
        if group.controller and group.controller not in {*_VALUES, "cpuacct", "devices", "freezer"}:
            raise ValueError(f"no controller: {group.controller[:100]!r}")
        if not set(group.values) <= set(_VALUES.get(group.controller, ())):
            raise ValueError("a value of a control group that is not known")
        if any(len(value) > _LONGEST for value in (*group.values.values(), group.enabled)):
            raise ValueError("a value of a control group is too long")


def _is_name(part: str) -> bool:
    return part not in {"", ".", ".."} and "\0" not in part and "\n" not in part


def read(container: ControlGroup) -> tuple[Subgroup, ...]:
    """What there is below the group of a frozen container.

    Parents come before what is in them. Costs one stat(2) a hierarchy where there is nothing.
    """
    found: list[Subgroup] = []
    for controller, root in _hierarchies(container):
        below = list(_below(root, ""))
        if not below:
            continue
        if not controller:
            found.append(Subgroup("", "", enabled=_text(root / _ENABLED)))
        found += [_read_one(controller, root, path) for path in below]
    return tuple(found)


def hierarchies() -> tuple[str, ...]:
    """Where this host makes them, by the names that `Subgroup.controller` has."""
    layout = detect()
    return (*layout.v1, *([""] if layout.v2 else []))


def _hierarchies(container: ControlGroup) -> Iterator[tuple[str, Path]]:
    """A controller's name and the container's directory, for each hierarchy once."""
    layout, seen = container.layout, set()
    for controller, root in layout.v1.items():
        if root not in seen:
            seen.add(root)
            yield controller, root / container.parent / container.name
    if layout.v2:
        yield "", layout.v2 / container.parent / container.name


def _below(root: Path, path: str) -> Iterator[str]:
    """Every group below one, parents first. A group's directory has a link for each one in it."""
    directory = root / path if path else root
    try:
        if directory.stat().st_nlink <= 2:
            return
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    except OSError:
        return
    for name in names:
        inner = f"{path}/{name}" if path else name
        yield inner
        yield from _below(root, inner)


def _read_one(controller: str, root: Path, path: str) -> Subgroup:
    directory = root / path
    values = {name: _text(directory / name) for name in _VALUES.get(controller, ())}
    owner = directory.stat()
    inner = _by_inner_pid(map(int, _text(directory / _PROCESSES).split()))
    return Subgroup(
        controller, path, {name: value for name, value in values.items() if value}, tuple(inner),
        _text(directory / _ENABLED) if not controller else "", (owner.st_uid, owner.st_gid),
    )  # fmt: skip


def _by_inner_pid(pids: Iterable[int]) -> dict[int, int]:
    """This host's pids by those of the innermost namespace: CRIU nests none (see namespaces.py)."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, KeyError, IndexError):
            found[int(status_fields(pid)["NSpid"].split()[-1])] = pid
    return found


def _text(file: Path) -> str:
    """What a file says; "" where this kernel has none, or gives none."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def make(container: ControlGroup, groups: tuple[Subgroup, ...]) -> None:
    """Make them below the container's group, empty; raises PlaceUnfit.

    Of version 1 they are limited, too: a cpuset takes nobody before it is.
    """
    for group in groups:
        if not group.path:
            continue
        directory = _place(container, group)
        try:
            directory.mkdir(mode=0o755, exist_ok=True)
            if group.controller:
                _put_values(directory, group)
            _give(directory, group.owner)
        except OSError as error:
            raise PlaceUnfit(
                f"the container's own control group '{group.path}' can't be made",
                cause=str(error), mend="look at what the host's control groups offer",
            ) from error  # fmt: skip


def fill(container: ControlGroup, groups: tuple[Subgroup, ...]) -> None:
    """Move the restored processes (all there, none running) into theirs; raises PlaceUnfit.

    Of version 2 a group gives controllers to those below only when nobody is in it.
    """
    if not groups:
        return
    pids = _by_inner_pid(container.pids())
    try:
        for group in groups:
            for inner in group.pids:
                if inner in pids:
                    (_place(container, group) / _PROCESSES).write_text(str(pids[inner]))
        for group in groups:
            if not group.controller:
                _enable(_place(container, group), group.enabled)
                _put_values(_place(container, group), group)
    except OSError as error:
        raise PlaceUnfit(
            "the container's processes can't be put into its own control groups", cause=str(error)
        ) from error


def _place(container: ControlGroup, group: Subgroup) -> Path:
    layout = container.layout
    root = layout.v1.get(group.controller) if group.controller else layout.v2
    if root is None:
        raise PlaceUnfit(
            f"this host has no control groups for the container's own '{group.path}'",
            cause=f"it was made in the hierarchy of {group.controller or 'version 2'}",
            mend="use a host with the same version of control groups",
        )
    return root / container.parent / container.name / group.path


def _enable(directory: Path, controllers: str) -> None:
    if wanted := " ".join(f"+{name}" for name in controllers.split()):
        (directory / _ENABLED).write_text(wanted)


def _put_values(directory: Path, group: Subgroup) -> None:
    """What is so already is left alone: some values of the default can't be written."""
    for name, value in group.values.items():
        if _text(directory / name) != value:
            (directory / name).write_text(value)


def _give(directory: Path, owner: tuple[int, int]) -> None:
    """Its directory, and the files that who has it may write (cgroups(7), Delegation)."""
    if owner == (0, 0):
        return
    for name in ("", _PROCESSES, "tasks", _ENABLED, "cgroup.threads"):
        with contextlib.suppress(FileNotFoundError):
            os.chown(directory / name, *owner)
