"""Open files of kinds that CRIU can't dump."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import (
    Container,
    Descriptor,
    Task,
    is_block_device,
    is_character_device,
    printable,
)
from migrate.kernel.mountinfo import read_mountinfo

_ANONYMOUS = {
    "[io_uring]": "io-uring", "[userfaultfd]": "userfaultfd", "[perf_event]": "perf-event",
    "seccomp notify": "seccomp-notifier",
}  # fmt: skip
# What the kernel itself makes: memfd_create, shmget, shared anonymous memory, io_setup.
_ON_NO_MOUNT = ("/memfd:", "/SYSV", "/dev/zero (deleted)", "/[aio]", "/anon_hugepage")
# Linux, kernel/bpf/: names of maps, programs, links, and BTF.
_BPF = ("bpf", "[bpf", "btf")
# CRIU, criu/files.c, dump_one_file: memory devices, terminals (4, 5, 136-143), and tun (10:200).
_DUMPABLE_MAJORS = {1, 4, 5, *range(136, 144)}
_TUN = (10, 200)
_COUNT_KEPT = 1 << 32
_PIDFD_THREAD = os.O_EXCL  # include/uapi/linux/pidfd.h


def open_files(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each kind in each process."""
    for task in container.own_tasks:
        told = set()
        mounts = _mounts(task)
        for descriptor in task.descriptors:
            found = _name_of(descriptor, container.pids) or _name_of_place(descriptor, mounts)
            if found and found not in told:
                told.add(found)
                yield task.known(found, f"has {_words(descriptor)} open")
            if (lost := _lost_of_counter(descriptor)) and lost not in told:
                told.add(lost)
                yield NotDumpable(
                    f"{task.title} has an eventfd {lost}",
                    cause="CRIU restores it without that (criu/eventfd.c), and tells nobody",
                    mend="end what uses it first, or use --mode cold",
                )


def _lost_of_counter(descriptor: Descriptor) -> str:
    """What of an eventfd CRIU loses, in words (Linux, fs/eventfd.c, eventfd_show_fdinfo)."""
    if descriptor.fields.get("eventfd-semaphore", "0") != "0":
        return "that counts as a semaphore (EFD_SEMAPHORE)"
    if int(descriptor.fields.get("eventfd-count", "0"), 16) >= _COUNT_KEPT:
        return "whose count has more than 32 bits"
    return ""


def _mounts(task: Task) -> frozenset[str] | None:
    """The numbers of the mounts that it sees; None when it is gone."""
    with contextlib.suppress(OSError):
        return frozenset(str(mount.mount_id) for mount in read_mountinfo(task.pid))
    return None


def _name_of_place(descriptor: Descriptor, mounts: frozenset[str] | None) -> str:
    """A file with a name must be on a mount; memory files and the like are on none."""
    if mounts is None or not (stat.S_ISREG(descriptor.mode) or stat.S_ISDIR(descriptor.mode)):
        return ""
    named = descriptor.target.startswith("/") and not descriptor.target.startswith(_ON_NO_MOUNT)
    here = descriptor.fields.get("mnt_id", "") in mounts
    return "file-on-no-mount" if named and not here else ""


def _name_of(descriptor: Descriptor, pids: frozenset[int]) -> str:
    """The failure of CRIU's that it would be, "" for none."""
    if is_block_device(descriptor):
        return "block-device"
    if is_character_device(descriptor):
        number = (os.major(descriptor.device), os.minor(descriptor.device))
        dumpable = number[0] in _DUMPABLE_MAJORS or number == _TUN
        return "" if dumpable else "character-device"
    if descriptor.target.startswith("pipe:"):
        return "packet-pipe" if descriptor.flags & os.O_DIRECT else ""
    return _name_of_anonymous(descriptor, pids)


def _name_of_anonymous(descriptor: Descriptor, pids: frozenset[int]) -> str:
    kind = descriptor.target.removeprefix("anon_inode:")
    if "Pid" in descriptor.fields:  # a pidfd's link is "anon_inode:[pidfd]", or "pidfd:[...]"
        return _name_of_pidfd(descriptor, pids)
    if kind == descriptor.target:
        return ""
    return "bpf" if kind.startswith(_BPF) else _ANONYMOUS.get(kind, "")


def _name_of_pidfd(descriptor: Descriptor, pids: frozenset[int]) -> str:
    """Of a process that has ended it is dumped, and restored as one of such a process."""
    pid = int(descriptor.fields["Pid"])
    if pid <= 0:
        return ""
    if descriptor.flags & _PIDFD_THREAD:
        return "pidfd-thread"
    return "" if pid in pids else "pidfd-outside"


def _words(descriptor: Descriptor) -> str:
    if is_block_device(descriptor) or is_character_device(descriptor):
        number = f"{os.major(descriptor.device)}:{os.minor(descriptor.device)}"
        return f"{printable(descriptor.target)} (device {number})"
    return printable(descriptor.target.removeprefix("anon_inode:"))
