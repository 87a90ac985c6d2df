"""One control group in every hierarchy, by plain paths: found, made, emptied, removed.

What every start and end of a container needs, and loads no library for; `group` has the rest.
"""

from __future__ import annotations

import errno
import os
import time

from migrate.kernel.bare import contextlib, signal
from migrate.runtime.errors import CgroupFailed

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
V2_WANTED = ("cpu", "memory", "pids", "io", "cpuset", "hugetlb")
# What a container may do with devices: make any node, use the harmless ones and its own
# terminals (moby, oci/defaults.go; Documentation/admin-guide/cgroup-v1/devices.rst).
DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip
USUAL_PLACE = "/sys/fs/cgroup"
PARENT = "migrate"
CREATE_ATTEMPTS = 20
KILL_LIMIT = 10.0  # seconds
_PAUSE = 0.002  # seconds between two looks at what is about to end
_REMOVAL_ATTEMPTS = 250


class Hierarchies:
    """Mount points: `v1` by controller, and the `v2` tree ("" if none) with what it offers."""

    def __init__(self, v1: dict[str, str], v2: str, offered: frozenset[str]) -> None:
        self.v1 = v1
        self.v2 = v2
        self.offered = offered

    @property
    def roots(self) -> list[str]:
        """The mount point of each hierarchy, each once."""
        found = list(dict.fromkeys(self.v1.values()))
        return [*found, self.v2] if self.v2 else found

    @property
    def freezer(self) -> str:
        """The root of the tree that freezes; "" if there is none."""
        return self.v1.get("freezer", self.v2)

    def directories(self, parent: str, name: str) -> list[str]:
        """The group's directory in each hierarchy, each once."""
        return [f"{root}/{parent}/{name}" for root in self.roots]

    def homes(self) -> list[str]:
        """The group that this process is in, for each of `roots` (cgroups(7), /proc/PID/cgroup)."""
        found = {}
        with open("/proc/self/cgroup") as file:
            for line in file.read().splitlines():
                _number, controllers, path = line.split(":", 2)
                for controller in controllers.split(","):
                    root = self.v1.get(controller) if controllers else self.v2
                    if root:
                        found[root] = f"{root}/{path.lstrip('/')}"
        return [found[root] for root in self.roots if root in found]


def of_mounts(mounts: Iterable[tuple[str, str, str]]) -> tuple[dict[str, str], str]:
    """The hierarchies among mounts (place, type, options).

    Of several of one the last counts, yet one in the usual place before all others: a CRIU that
    restores control groups mounts them elsewhere for a moment (criu/cgroup.c, prepare_cgroup).
    """
    v1: dict[str, str] = {}
    v2 = ""
    for place, kind, options in mounts:
        if kind == "cgroup2":
            v2 = _better(place, v2)
        elif kind == "cgroup":
            for name in options.split(","):
                if name in V1_CONTROLLERS:
                    v1[name] = _better(place, v1.get(name, ""))
    return v1, v2


def _better(place: str, known: str) -> str:
    usual = known.startswith(USUAL_PLACE) and not place.startswith(USUAL_PLACE)
    return known if usual else place


def detect() -> Hierarchies:
    """The hierarchies of this host (its mount namespace)."""
    v1, v2 = of_mounts(_mounts())
    offered: frozenset[str] = frozenset()
    if v2:
        with open(f"{v2}/cgroup.controllers") as file:
            offered = frozenset(file.read().split())
    return Hierarchies(v1, v2, offered)


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Place, type and super options (proc_pid_mountinfo(5)); cgroups' places have no escapes."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _source, options = right.rstrip("\n").split(" ", 2)
            if kind.startswith("cgroup"):
                yield left.split(" ")[4], kind, options


def make(trees: Hierarchies, parent: str, name: str) -> None:
    """Make it in every hierarchy; raises CgroupFailed.

    The group of all containers goes with the last of them, maybe while another is made: then
    this is done again.
    """
    for attempts_left in reversed(range(CREATE_ATTEMPTS)):
        try:
            for controller, root in trees.v1.items():
                _make_v1(controller, root, parent, name)
            if trees.v2:
                _make_v2(trees.v2, parent, name, trees.offered)
                if "devices" not in trees.v1:
                    _limit_devices(f"{trees.v2}/{parent}/{name}")
            return
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV} or not attempts_left:
                raise CgroupFailed(
                    f"can't make the control group {name}", cause=str(error)
                ) from error


def _make_v1(controller: str, root: str, parent: str, name: str) -> None:
    """A cpuset is given its parent's cpus and memory nodes."""
    directory = root
    for part in (*parent.split("/"), name):
        directory = f"{directory}/{part}" if part else directory
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
        if controller == "cpuset":
            for key in ("cpuset.cpus", "cpuset.mems"):
                if not _read(f"{directory}/{key}").strip():
                    _write(f"{directory}/{key}", _read(f"{os.path.dirname(directory)}/{key}"))
    if controller == "devices":
        _write(f"{directory}/devices.deny", "a")
        for rule in DEVICES:
            _write(f"{directory}/devices.allow", rule)


def _make_v2(root: str, parent: str, name: str, offered: frozenset[str]) -> None:
    """With the offered controllers delegated down to it."""
    levels = [root]
    for part in parent.split("/"):
        if part:
            levels.append(f"{levels[-1]}/{part}")
            with contextlib.suppress(FileExistsError):
                os.mkdir(levels[-1], 0o755)
    enable = " ".join(f"+{controller}" for controller in V2_WANTED if controller in offered)
    if enable and ("memory" in offered or "cpu" in offered or "pids" in offered):
        for directory in levels:
            _write(f"{directory}/cgroup.subtree_control", enable)
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{levels[-1]}/{name}", 0o755)


def _limit_devices(directory: str) -> None:
    """By a BPF program, which is version 2's way; without it the container could use any device."""
    from migrate.kernel.devicefilter import attach

    try:
        attach(directory, [(False, "a *:* rwm"), *((True, rule) for rule in DEVICES)])
    except LookupError as error:
        raise CgroupFailed("can't limit devices", cause=f"no bpf(2) here: {error}") from error


def pids(freezer: str) -> list[int]:
    """The processes in the freezer's group and below it, as this pid namespace numbers them."""
    found: list[int] = []
    for directory in [freezer, *_below(freezer)]:
        with contextlib.suppress(OSError):
            found += map(int, _read(f"{directory}/cgroup.procs").split())
    return found


def kill(freezer: str, limit: float = KILL_LIMIT) -> None:
    """SIGKILL until it is empty, frozen or not; raises CgroupFailed after `limit` seconds."""
    deadline = time.monotonic() + limit
    while left := pids(freezer):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            _thaw(freezer)
        if time.monotonic() > deadline:
            raise CgroupFailed(f"processes {left} do not die", cause="they hang in the kernel")
        time.sleep(_PAUSE)


def _thaw(freezer: str) -> None:
    if os.path.exists(f"{freezer}/freezer.state"):
        _write(f"{freezer}/freezer.state", "THAWED")
    else:
        _write(f"{freezer}/cgroup.freeze", "0")


def remove(trees: Hierarchies, parent: str, name: str) -> None:
    """Remove the (empty) group everywhere; a missing one is no error."""
    for directory in trees.directories(parent, name):
        for path in [*sorted(_below(directory), reverse=True), directory]:
            _remove_directory(path)
        if parent == PARENT:
            with contextlib.suppress(OSError):  # the others are in it
                os.rmdir(os.path.dirname(directory))


def _below(directory: str) -> list[str]:
    """Every group below one."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path for name in names for path in (name, *_below(name))]


def _remove_directory(path: str) -> None:
    for _attempt in range(_REMOVAL_ATTEMPTS):
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_PAUSE)  # the last task is on its way out


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
