"""ptrace(2) for x86_64, one wrapper a request; every failure is an OSError with its errno kept.

A tracee belongs to the *thread* that seized it: all calls for one task come from one thread, and
when that thread ends the kernel lets the task go.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from migrate.kernel.libc import oserror

# include/uapi/linux/ptrace.h
_CONT, _DETACH, _SYSCALL = 7, 17, 24
_GETREGSET, _SETREGSET, _SEIZE, _INTERRUPT = 0x4204, 0x4205, 0x4206, 0x4207
_GETSIGMASK, _SETSIGMASK = 0x420A, 0x420B
_GET_RSEQ_CONFIGURATION, _GET_SYSCALL_USER_DISPATCH_CONFIG = 0x420F, 0x4211
O_TRACESYSGOOD = 1
O_SUSPEND_SECCOMP = 1 << 21
EVENT_STOP = 128
SYSCALL_STOP = signal.SIGTRAP | 0x80
"""The signal of a stop at a syscall's entry or exit, under O_TRACESYSGOOD."""

_NT_PRSTATUS = 1  # include/uapi/linux/elf.h
_WALL = 0x4000_0000  # include/uapi/linux/wait.h
_SIGNAL_SET_SIZE = 8

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace  # its own object: other argument types
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    """struct user_regs_struct of x86_64, arch/x86/include/asm/user_64.h."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx",
            "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base",
            "gs_base", "ds", "es", "fs", "gs",
        )
    )  # fmt: skip

    def copy(self) -> Registers:
        """The same values in a structure of its own."""
        return Registers.from_buffer_copy(self)


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _RseqConfiguration(ctypes.Structure):
    """struct ptrace_rseq_configuration."""

    _fields_ = (
        ("pointer", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("signature", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class _DispatchConfig(ctypes.Structure):
    """struct ptrace_sud_config."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("mode", "selector", "offset", "length"))


def _call(context: str, request: int, tid: int, address: object, data: object) -> int:
    result: int = _ptrace(request, tid, address, data)
    if result < 0:
        raise oserror(f"ptrace {context} {tid}")
    return result


def seize(tid: int, options: int) -> None:
    """Become the tracer of a task without stopping it.

    Raises OSError: EPERM for a task that is traced already, has ended, or may not be traced;
    ESRCH for none. Blocks while a v1 freezer holds a task that a signal has stopped (Linux,
    kernel/ptrace.c, ptrace_attach waits for JOBCTL_TRAPPING).
    """
    _call("SEIZE", _SEIZE, tid, None, options)


def interrupt(tid: int) -> None:
    """Ask a seized task to stop; `wait` tells of the EVENT_STOP."""
    _call("INTERRUPT", _INTERRUPT, tid, None, None)


def resume(tid: int, number: int = 0) -> None:
    """Let a stopped task go on, with the signal `number` if not 0."""
    _call("CONT", _CONT, tid, None, number)


def resume_to_syscall(tid: int, number: int = 0) -> None:
    """Like `resume`, up to the next entry or exit of a syscall."""
    _call("SYSCALL", _SYSCALL, tid, None, number)


def detach(tid: int, number: int = 0) -> None:
    """Let a stopped task go for good; a stopped process goes on to be stopped."""
    _call("DETACH", _DETACH, tid, None, number)


def wait(tid: int, *, block: bool = True) -> int | None:
    """The wait status of a traced task; None when not `block` and there is nothing to tell.

    Raises ChildProcessError when this thread group traces no such task.
    """
    found, status = os.waitpid(tid, _WALL | (0 if block else os.WNOHANG))
    return status if found else None


def registers(tid: int) -> Registers:
    """The general registers of a stopped task; raises OSError, ENOEXEC for a 32-bit task."""
    values = Registers()
    vector = _IoVector(ctypes.addressof(values), ctypes.sizeof(values))
    _call("GETREGSET", _GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    if vector.length != ctypes.sizeof(values):
        raise OSError(errno.ENOEXEC, f"task {tid} runs 32-bit code")
    return values


def set_registers(tid: int, values: Registers) -> None:
    """Set the general registers of a stopped task."""
    vector = _IoVector(ctypes.addressof(values), ctypes.sizeof(values))
    _call("SETREGSET", _SETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))


def signal_mask(tid: int) -> int:
    """The blocked signals of a stopped task, bit N - 1 for signal N.

    For a task inside ppoll(2) or sigsuspend(2) the mask that it returns to.
    """
    mask = ctypes.c_uint64()
    _call("GETSIGMASK", _GETSIGMASK, tid, _SIGNAL_SET_SIZE, ctypes.addressof(mask))
    return mask.value


def set_signal_mask(tid: int, mask: int) -> None:
    """Set the blocked signals of a stopped task."""
    value = ctypes.c_uint64(mask)
    _call("SETSIGMASK", _SETSIGMASK, tid, _SIGNAL_SET_SIZE, ctypes.addressof(value))


def rseq_area(tid: int) -> int:
    """The address of a stopped task's struct rseq, 0 where there is none.

    Raises OSError, EIO before Linux 5.13.
    """
    found = _RseqConfiguration()
    size = ctypes.sizeof(found)
    _call("GET_RSEQ_CONFIGURATION", _GET_RSEQ_CONFIGURATION, tid, size, ctypes.addressof(found))
    return int(found.pointer)


def dispatches_syscalls(tid: int) -> bool:
    """Whether a stopped task has its syscalls sent to itself as signals (syscall user dispatch).

    Raises OSError, EIO before Linux 6.4.
    """
    found = _DispatchConfig()
    size, request = ctypes.sizeof(found), _GET_SYSCALL_USER_DISPATCH_CONFIG
    _call("GET_SYSCALL_USER_DISPATCH_CONFIG", request, tid, size, ctypes.addressof(found))
    return bool(found.mode)
