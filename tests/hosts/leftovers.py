"""What test hosts may leave on the machine: found, and swept."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel import namespaces, processes
from migrate.kernel.mountinfo import read_mountinfo
from tests.hosts import cgroups

PREFIX = "migrate-hosts-"
BASE = Path("/var/tmp")  # on disk on every Debian; /tmp may be a tmpfs
_TEMPORARY = (BASE, Path("/tmp"), Path("/run"))


@dataclass(frozen=True)
class Snapshot:
    """What can leak, as seen from the machine; lines as a person would want to read them."""

    mounts: frozenset[str]
    interfaces: frozenset[str]
    network_namespaces: frozenset[str]
    files: frozenset[str]
    cgroups: frozenset[str]
    taken: int
    """Clock ticks since boot."""


def _names(*directories: Path, prefix: str = "") -> frozenset[str]:
    found = set()
    for directory in directories:
        with contextlib.suppress(OSError):
            found |= {str(p) for p in directory.iterdir() if p.name.startswith(prefix)}
    return frozenset(found)


def snapshot() -> Snapshot:
    """Take it before and after; 1 ms."""
    return Snapshot(
        frozenset(f"{i.mount_point} ({i.fs_type})" for i in read_mountinfo()),
        frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        _names(Path("/run/netns")),
        _names(*_TEMPORARY, prefix="migrate") | _names(Path("/var/lib"), prefix="migrate"),
        _names(*(h.mount_point for h in cgroups.hierarchies())),
        int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")),
    )


def _is_of_another(line: str) -> bool:
    """Whether a line names a lan of a living process that is not ours."""
    owner = _owner(line)
    return owner is not None and owner[0] != os.getpid() and processes.is_running(*owner)


def _owner(line: str) -> tuple[int, int] | None:
    _, found, rest = line.partition(PREFIX)
    parts = rest.split("-")
    if not found or len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def leftovers(
    before: Snapshot,
    seen_namespaces: Iterable[tuple[str, int]] = (),
    *,
    strict: bool = False,
) -> list[str]:
    """What is there now that was not there before, a line for each; empty when all is clean.

    Without `strict`, things that do not look like ours are left out: others may work on this
    machine; with tests beside this one (pytest-xdist) whatever does not carry a lan's name.
    `seen_namespaces` are (kind, inode number) of the hosts' namespaces.
    """
    after = snapshot()
    mark = PREFIX if _not_alone() else "migrate"
    lines = []
    for what in ("mounts", "interfaces", "network_namespaces", "files", "cgroups"):
        for item in sorted(getattr(after, what) - getattr(before, what)):
            if not _is_of_another(item) and (strict or mark in item):
                lines.append(f"{what.replace('_', ' ')[:-1]} {item}")
    return lines + _processes(before, after, set(seen_namespaces))


def _not_alone() -> bool:
    """Whether other tests run beside this one."""
    return "PYTEST_XDIST_WORKER" in os.environ


def _processes(before: Snapshot, after: Snapshot, seen: set[tuple[str, int]]) -> list[str]:
    # The numbers of ended namespaces are used again: only what began meanwhile counts, and nothing
    # at all by its number where others begin something, too. A zombie
    # has ended, and some machines' pid 1 takes its time to reap orphans.
    lines = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = processes.stat_fields(entry.name)
            started = int(fields[21])
            if fields[2] == "Z" or not before.taken <= started <= after.taken:
                continue
            groups = (entry / "cgroup").read_text()
            here = {(n, namespaces.namespace_id(n, entry.name)) for n, _ in seen}
            if (here & seen and not _not_alone()) or (
                PREFIX in groups and not _is_of_another(groups)
            ):
                command = (entry / "cmdline").read_text().replace("\0", " ")
                lines.append(f"process {entry.name} {command.strip()}")
    return lines


def sweep() -> list[str]:
    """Remove what lans of dead processes left; returns what it removed."""
    swept = []
    tops = [h.mount_point for h in cgroups.hierarchies()]
    for path in sorted(_names(BASE, *tops, prefix=PREFIX)):
        owner = _owner(path)
        if owner is None or processes.is_running(*owner):
            continue
        swept.append(path)
        if Path(path).parent == BASE:
            _unmount_beneath(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            cgroups.remove(Path(path).name)
    return swept


def _unmount_beneath(path: str) -> None:
    """What a test had mounted there, a small disk for a host, outlives a test that was killed."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for place in reversed([line.split()[1] for line in lines]):
        if place.startswith(f"{path}/"):
            subprocess.run(["umount", "-l", place], check=False)
