"""Processes: identity that survives pid reuse, subreapers, parent-death signals, pidfds."""

from __future__ import annotations

import ctypes
import os

from migrate.kernel.bare import contextlib, signal
from migrate.kernel.libc import (
    SYS_CLONE3,
    SYS_PIDFD_GETFD,
    libc,
    oserror,
    syscall,
    syscall_number,
)
from migrate.kernel.namespaces import CLONE_FILES, CLONE_PARENT

_SIGACTION_SIZE = 32  # struct sigaction of the kernel, on 64-bit architectures

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_KCMP_FILE, _KCMP_VM = 0, 1  # include/uapi/linux/kcmp.h

libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def _prctl(context: str, option: int, argument: int) -> None:
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise oserror(context)


def set_child_subreaper(on: bool = True) -> None:
    """Become the parent of orphaned descendants (prctl(2)); raises OSError."""
    _prctl("prctl PR_SET_CHILD_SUBREAPER", PR_SET_CHILD_SUBREAPER, int(on))


def set_dumpable(on: bool) -> None:
    """Off: /proc/PID/exe, mem and the like are for CAP_SYS_PTRACE of the host alone, until an exec.

    prctl(2), PR_SET_DUMPABLE; raises OSError.
    """
    _prctl("prctl PR_SET_DUMPABLE", PR_SET_DUMPABLE, int(on))


def set_parent_death_signal(number: int) -> None:
    """Ask for signal `number` when the parent *thread* ends; 0 for none. Raises OSError.

    A parent that was gone before the call is not noticed: compare os.getppid() afterwards.
    """
    _prctl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, number)


def default_signals() -> None:
    """Every signal to its default action, for a program about to be executed.

    By the raw syscall: the C library keeps 32 and 33 for itself, and a caller may ignore them.
    """
    nothing = ctypes.create_string_buffer(_SIGACTION_SIZE)  # SIG_DFL, no flags, no mask
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError):  # SIGKILL and SIGSTOP
            arguments = (number, nothing, None, signal.NSIG // 8)
            syscall("rt_sigaction", syscall_number("rt_sigaction"), *arguments)


def status_fields(pid: int | str) -> dict[str, str]:
    """/proc/PID/status by name, each value stripped (proc_pid_status(5)).

    Raises FileNotFoundError or ProcessLookupError when the process is gone.
    """
    with open(f"/proc/{pid}/status", errors="surrogateescape") as file:
        text = file.read()
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def namespace_pids(pid: int) -> list[int]:
    """The pids of a process, from this namespace of pids to its own (proc_pid_status(5), NSpid).

    Raises FileNotFoundError or ProcessLookupError when the process is gone.
    """
    descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Its beginning is enough, and costs a third; a name can't hold a newline there.
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    at = text.index(b"\nNSpid:") + len(b"\nNSpid:")
    return [int(number) for number in text[at : text.index(b"\n", at)].split()]


def locked_bytes(pid: int) -> int:
    """Memory that a process has locked (proc_pid_status(5), VmLck); 0 for a zombie.

    Raises FileNotFoundError or ProcessLookupError when the process is gone. Asked of each process
    within the pause of a move, where all of `status_fields` would take ten times as long.
    """
    with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
        text = file.read()
    _, found, rest = text.partition(b"\nVmLck:")
    return int(rest.split(None, 1)[0]) << 10 if found else 0


def share_memory(pid: int, other: int) -> bool:
    """Whether two processes have one address space (kcmp(2), KCMP_VM); raises OSError."""
    context = f"kcmp KCMP_VM {pid} {other}"
    return syscall(context, syscall_number("kcmp"), pid, other, _KCMP_VM, 0, 0) == 0


def have_same_file(pid: int, number: int, other: int, its: int) -> bool:
    """Whether descriptors of two processes are copies of one (kcmp(2), KCMP_FILE).

    Raises OSError: EBADF when one of them is closed.
    """
    context = f"kcmp KCMP_FILE {pid} {other}"
    arguments = (pid, other, _KCMP_FILE, number, its)
    return syscall(context, syscall_number("kcmp"), *arguments) == 0


def boot_id() -> str:
    """This boot's random identity, a UUID."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def stat_fields(pid: int | str) -> list[str]:
    """/proc/PID/stat split: field N of proc_pid_stat(5) is at index N - 1.

    Raises FileNotFoundError or ProcessLookupError when the process is gone.
    """
    with open(f"/proc/{pid}/stat", errors="surrogateescape") as file:
        text = file.read()
    head, _, tail = text.rpartition(")")
    number, _, command = head.partition(" (")
    return [number, command, *tail.split()]


def start_time(pid: int) -> int:
    """When `pid` started, in clock ticks after boot: with the pid and boot id, its identity.

    Field 22 of /proc/PID/stat. Raises FileNotFoundError or ProcessLookupError when it is gone.
    """
    return int(stat_fields(pid)[21])


def is_running(pid: int, started: int) -> bool:
    """Whether the process with this pid and start time lives (a zombie does not)."""
    try:
        fields = stat_fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(fields[21]) == started and fields[2] not in {"Z", "X"}


def pidfd_open(pid: int) -> int:
    """A descriptor of the process (pidfd_open(2)), close-on-exec; raises ProcessLookupError."""
    return os.pidfd_open(pid)


def pidfd_send_signal(descriptor: int, number: int) -> None:
    """Send a signal to the process of a pidfd; raises ProcessLookupError when it has ended."""
    signal.pidfd_send_signal(descriptor, number)


def pidfd_getfd(descriptor: int, number: int) -> int:
    """A descriptor for what `number` is in the process of a pidfd (pidfd_getfd(2)), close-on-exec.

    Raises OSError: EBADF for no such descriptor, EPERM without the right to trace the process.
    """
    return syscall(f"pidfd_getfd {number}", SYS_PIDFD_GETFD, descriptor, number, 0)


class _CloneArguments(ctypes.Structure):
    """struct clone_args up to `tls`, include/uapi/linux/sched.h."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal",
            "stack", "stack_size", "tls",
        )
    )  # fmt: skip


def fork_sharing_files() -> int:
    """fork(2) with one table of descriptors for both (CLONE_FILES of clone(2)); 0 in the child.

    What either of them opens, the other holds as well, and it stays open when one is killed. As
    `fork_into`.
    """
    return fork_into(CLONE_FILES)


def fork_into(flags: int) -> int:
    """fork(2) with CLONE_* `flags`, such as a new namespace of pids; 0 in the child.

    For a process with one thread; the child may not return into its parent's code, and has to undo
    what it inherits of signal handling. Raises OSError.
    """
    # With CLONE_PARENT the signal is that of the caller's own end (clone(2)).
    at_end = 0 if flags & CLONE_PARENT else signal.SIGCHLD
    arguments = _CloneArguments(flags=flags, exit_signal=at_end)
    # PyDLL keeps the interpreter's lock, which the child then holds as the parent did.
    raw = ctypes.PyDLL(None, use_errno=True).syscall
    raw.restype = ctypes.c_long
    size = ctypes.sizeof(arguments)
    pid: int = raw(ctypes.c_long(SYS_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(size))
    if pid < 0:
        raise oserror(f"clone3 {flags:#x}")
    return pid


def set_name(name: str) -> None:
    """The calling thread's name as ps(1) shows it, 15 bytes at most; raises OSError."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    if libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0) != 0:
        raise oserror("prctl PR_SET_NAME")
