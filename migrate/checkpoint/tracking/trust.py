"""What write protection can be trusted with: which mappings, and which processes.

Mappings. Vouched for is what is private, anonymous and writable at present, and has no name, or
[heap], or [anon:...]. CRIU restores those lazily (vma_entry_can_be_lazy, criu/include/vma.h).
Vouched for, too, are the changed pages of private mappings of plain files that are writable at
present, a program's .data for one: they are written over the restored copy before it runs
(`Final.eager`, `checkpoint.eager`). All else CRIU copies:
- shared memory (anonymous, memfd, SysV, tmpfs): written by processes outside the container, too,
  and by write(2) on the descriptor, past all page tables;
- other mappings of files, and private /dev/zero: CRIU takes them from the file and keeps the
  changed pages;
- hugetlb (has an inode in maps, like memfd): CRIU never restores it lazily;
- locked memory (mlock, mlockall, MAP_LOCKED): the same, since it must not fault; found by VmLck,
  then by `lo` in smaps;
- what is not writable at present, though its pages keep their marks if it was before;
- [stack] of the main thread: it grows by itself, and is needed at once;
- what a child does not inherit (MADV_WIPEONFORK): a child forked before it is filled in would find
  its parent's content, a random generator's state for one; found by `wf` in smaps as of the last
  round;
- mappings with guard pages (MADV_GUARD_INSTALL): markers are no memory, only CRIU keeps them;
- vdso, vvar, vsyscall, [aio].
Stacks of other threads are ordinary mappings, and tracked: CRIU prefers to restore the page at the
stack pointer at once (is_stack, criu/mem.c), but does not need to.

Processes. A page counts as written when the kernel takes hold of it to write. Where data lands
later than that, past the page tables, a round in between may miss it: direct I/O (O_DIRECT), AIO
and io_uring. Their processes are not tracked. process_vm_writev(2), ptrace and /proc/PID/mem of
other processes hold a page for the moment of the copy only; a round inside that moment is not told
apart. What was held after the last round is done by the freeze: its task is not in the kernel.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from migrate.kernel import processes, userfaultfd
from migrate.kernel.filesystems import HUGETLBFS, magic
from migrate.kernel.maps import Mapping, flagged

IO_URING_LINK = "anon_inode:[io_uring]"
# VmFlags of proc_pid_smaps(5)
_LOCKED = frozenset({"lo"})
_WIPED = frozenset({"wf"})
# /proc/PID/stat, proc_pid_stat(5), from 0: startcode, endcode, startstack; start_data, end_data,
# start_brk, arg_start, arg_end, env_start, env_end.
_IMAGE_FIELDS = (25, 26, 27, 44, 45, 46, 47, 48, 49, 50)
_STATE_FIELD, _START_FIELD = 2, 21
_NO_FILES = ("/memfd:", "/dev/", "/SYSV", "/anon_hugepage", "/[aio]")

Identity = tuple[str, ...]
"""What stays the same while a process lives and runs one program: its start, and the program's
place in memory, new with each execve(2)."""


class Untrackable(Exception):
    """A process can't be tracked; the text says why, behind "it"."""


def identity(pid: int) -> Identity | None:
    """None for a zombie, which has no memory; raises FileNotFoundError, ProcessLookupError."""
    fields = processes.stat_fields(pid)
    if fields[_STATE_FIELD] in {"Z", "X"}:
        return None
    return (fields[_START_FIELD], *(fields[index] for index in _IMAGE_FIELDS))


def identities(pids: list[int]) -> dict[int, Identity]:
    """The processes that have memory, by host pid."""
    found = {}
    for pid in pids:
        try:
            its = identity(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if its is not None:
            found[pid] = its
    return found


def inner_pid(pid: int, depth: int) -> int:
    """The pid in the namespace that is `depth` levels from the host's; raises Untrackable.

    Raises FileNotFoundError or ProcessLookupError when it is gone.
    """
    numbers = processes.namespace_pids(pid)
    if len(numbers) != depth:
        raise Untrackable("lives in a pid namespace inside the container's")
    return numbers[-1]


def check_process(pid: int) -> None:
    """Raises Untrackable for a process whose memory is written past the page tables.

    Also for one that is traced, or uses userfaultfd itself. To be asked *after* a scan: what was in
    flight then has its descriptor open still. Raises OSError when the process is gone.
    """
    if processes.status_fields(pid).get("TracerPid", "0") != "0":
        raise Untrackable("is being traced")
    directory = Path(f"/proc/{pid}/fd")
    for entry in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            link = str(entry.readlink())
            if link == userfaultfd.LINK_NAME:
                raise Untrackable("uses userfaultfd itself")
            if link == IO_URING_LINK:
                raise Untrackable("uses io_uring")
            # O_DIRECT of a pipe is no direct I/O.
            if link.startswith("/") and _is_direct(pid, entry.name):
                raise Untrackable(f"has a file open with O_DIRECT: {link}")


def check_alone(pid: int, own: Identity, all_of_them: dict[int, Identity]) -> None:
    """Raises Untrackable for a process that has its memory in common with its maker.

    That is a vfork child before its execve, or a clone with CLONE_VM. The maker itself can be
    tracked: all writes go through the same page tables, whoever writes. Memory that is shared has
    the same program in the same place.
    """
    for other, its in all_of_them.items():
        if other == pid or its[1:] != own[1:]:
            continue
        try:
            shared = processes.share_memory(pid, other)
        except ProcessLookupError:
            continue
        if shared and int(its[0]) <= int(own[0]):
            raise Untrackable(f"shares its memory with process {other}")


def userfaultfds(pid: int) -> list[int]:
    """The descriptors of a process that are userfaultfds; raises OSError when it is gone."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(entry.readlink()) == userfaultfd.LINK_NAME:
                found.append(int(entry.name))
    return found


def _is_direct(pid: int, number: str) -> bool:
    text = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
    for line in text.splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & os.O_DIRECT)
    return False


def check_mappings(found: list[Mapping]) -> None:
    """Raises Untrackable for memory that shows asynchronous I/O."""
    for mapping in found:
        if mapping.name.startswith("/[aio]") or mapping.name == "[aio]":
            raise Untrackable("uses AIO")
        if mapping.name == IO_URING_LINK:
            raise Untrackable("uses io_uring")


def without_locked(pid: int, found: list[Mapping]) -> list[Mapping]:
    """Those that are not locked in memory; raises OSError when the process is gone."""
    if processes.locked_bytes(pid) == 0:
        return found
    locked = flagged(pid, _LOCKED)
    return [mapping for mapping in found if mapping.start not in locked]


def wiped_on_fork(pid: int) -> frozenset[int]:
    """Where mappings begin that a child gets empty; raises OSError when the process is gone."""
    return flagged(pid, _WIPED)


def fits(pid: int, mapping: Mapping) -> bool:
    """Whether a mapping can be vouched for now."""
    if not mapping.perms.startswith("rw"):
        return False
    return is_private_anonymous(mapping) or (is_private_file(mapping) and _is_plain(pid, mapping))


def is_private_file(mapping: Mapping) -> bool:
    """Whether it is the private mapping of what looks like a plain file."""
    named = mapping.name.startswith("/") and not mapping.name.startswith(_NO_FILES)
    return named and mapping.perms.endswith("p") and mapping.inode != 0


def _is_plain(pid: int, mapping: Mapping) -> bool:
    """Whether a plain file is behind it, with pages of the usual size (proc_pid_map_files(5))."""
    link = Path(f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}")
    try:
        return stat.S_ISREG(link.stat().st_mode) and magic(link) != HUGETLBFS
    except OSError:  # changed meanwhile, or not ours to look at: CRIU copies it
        return False


def is_private_anonymous(mapping: Mapping) -> bool:
    """Whether a mapping can have been registered at some time."""
    named = mapping.name in {"", "[heap]"} or mapping.name.startswith("[anon:")
    return named and mapping.perms.endswith("p") and mapping.inode == 0
