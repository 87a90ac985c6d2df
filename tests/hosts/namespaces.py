"""The mounts of a host, made by its init in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from migrate.kernel import mounts
from tests.hosts.cgroups import Hierarchy

_EMPTY_FILES = (".bashrc", ".profile", ".bash_profile", ".bash_login")
"""What a shell would read for each remote command, and how long it takes is the user's taste."""


def _detach(point: str) -> None:
    """Unmount everything stacked on a mount point; a point without a mount is left alone."""
    with contextlib.suppress(OSError):  # EINVAL: no mount (left) there
        while True:
            mounts.unmount(point, mounts.MNT_DETACH)


def _fresh(point: str, fs_type: str, data: str = "", flags: int = 0) -> None:
    _detach(point)
    mounts.mount(fs_type, point, fs_type, flags, data)


def _bind(source: Path | str, target: Path | str) -> None:
    mounts.mount(str(source), str(target), flags=mounts.MS_BIND)


def _bind_over(source: Path, target: Path) -> None:
    """Bind on a path that the machine may lack: then its parent becomes an overlay that has it."""
    if not target.exists():
        work = Path("/run/.host-overlays") / str(target.parent).strip("/").replace("/", "-")
        if not work.exists():
            (work / "upper").mkdir(parents=True)
            (work / "work").mkdir()
            data = f"lowerdir={target.parent},upperdir={work}/upper,workdir={work}/work"
            mounts.mount("overlay", target.parent, "overlay", 0, data)
        if source.is_dir():
            target.mkdir(mode=0o700)
        else:
            target.touch(mode=0o600)
    _bind(source, target)


def _private_tmp(source: Path, keep: list[str]) -> None:
    """/tmp of the host's own; what of this project lies beneath the machine's stays in sight."""
    kept = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in keep if path.startswith("/tmp/")
    }
    _bind(source, "/tmp")
    for path, descriptor in sorted(kept.items()):
        Path(path).mkdir(parents=True, exist_ok=True)
        _bind(f"/proc/self/fd/{descriptor}", path)
        os.close(descriptor)


def _cgroups(hierarchies: list[Hierarchy]) -> None:
    """Each hierarchy afresh: with the cgroup namespace its root is the host's own group."""
    if not any(str(h.mount_point) == "/sys/fs/cgroup" for h in hierarchies):
        _fresh("/sys/fs/cgroup", "tmpfs", "mode=755")
    for hierarchy in hierarchies:
        hierarchy.mount_point.mkdir(exist_ok=True)
        if hierarchy.version == 2:
            mounts.mount("cgroup2", hierarchy.mount_point, "cgroup2")
        else:
            mounts.mount("cgroup", hierarchy.mount_point, "cgroup", 0, hierarchy.options)


def client_mounts() -> None:
    """A client only needs to see its own processes and interfaces."""
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    _fresh("/proc", "proc", flags=mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)


def host_mounts(directory: Path, hierarchies: list[Hierarchy], keep: list[str]) -> None:
    """All that a host has of its own; the rest of the file system it shares with the machine.

    `directory` holds the host's disk, `keep` the paths that must stay visible.
    """
    hardened = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    client_mounts()
    _fresh("/sys", "sysfs", flags=hardened)
    _cgroups(hierarchies)
    _fresh("/dev/pts", "devpts", "mode=620,ptmxmode=666,gid=5")
    _fresh("/dev/shm", "tmpfs", "mode=1777", mounts.MS_NOSUID | mounts.MS_NODEV)
    _fresh("/run", "tmpfs", "mode=755", mounts.MS_NOSUID | mounts.MS_NODEV)
    for name in ("sshd", "lock", "user"):
        Path("/run", name).mkdir()
    for source, target in (
        ("etc-migrate", "/etc/migrate"),  # first: an overlay on /etc would hide the others
        ("hosts", "/etc/hosts"),
        ("shadow", "/etc/shadow"),
        ("etc-ssh", "/etc/ssh"),
        ("var-lib-migrate", "/var/lib/migrate"),
        ("dot-ssh", "/root/.ssh"),
    ):
        _bind_over(directory / source, Path(target))
    (directory / "empty").touch()
    for name in _EMPTY_FILES:
        with contextlib.suppress(FileNotFoundError):
            _bind(directory / "empty", f"/root/{name}")
    _private_tmp(directory / "tmp", keep)
