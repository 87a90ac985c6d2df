"""Open files of kinds that CRIU can't dump."""

from __future__ import annotations

import os
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import (
    Container,
    Descriptor,
    is_block_device,
    is_character_device,
    printable,
)

_ANONYMOUS = {
    "[io_uring]": "io-uring", "[userfaultfd]": "userfaultfd", "[perf_event]": "perf-event",
    "seccomp notify": "seccomp-notifier",
}  # fmt: skip
# Linux, kernel/bpf/: names of maps, programs, links, and BTF.
_BPF = ("bpf", "[bpf", "btf")
# CRIU, criu/files.c, dump_one_file: memory devices, terminals (4, 5, 136-143), and tun (10:200).
_DUMPABLE_MAJORS = {1, 4, 5, *range(136, 144)}
_TUN = (10, 200)
_PIDFD_THREAD = os.O_EXCL  # include/uapi/linux/pidfd.h


def open_files(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each kind in each process."""
    for task in container.own_tasks:
        told = set()
        for descriptor in task.descriptors:
            found = _name_of(descriptor, container.pids)
            if found and found not in told:
                told.add(found)
                yield task.known(found, f"has {_words(descriptor)} open")


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
