"""Scheduling of the calling process: policy, priorities, memory, personality, session keyring."""

from __future__ import annotations

import contextlib
import ctypes
import os

from migrate.kernel.libc import libc, oserror, syscall, syscall_number

# include/uapi/linux/sched.h and ioprio.h, personality.h, keyctl.h
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
POLICY_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8, "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
# include/uapi/linux/mempolicy.h
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}  # fmt: skip
_LIST = r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*"
_NODES = 1024  # bits of the mask; more than any kernel's MAX_NUMNODES
_IO_CLASS_SHIFT, _IO_WHO_PROCESS = 13, 1
_KEYCTL_JOIN_SESSION_KEYRING = 1
_URGENT = -10
_SHORTEST = 100_000
"""Nanoseconds; the least slice that the kernel gives (kernel/sched/syscalls.c)."""


class _Attributes(ctypes.Structure):
    """struct sched_attr, include/uapi/linux/sched/types.h."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32), ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64),
    )  # fmt: skip


def set_scheduler(
    policy: int, *, flags: int = 0, nice: int = 0, priority: int = 0, runtime: int = 0,
    deadline: int = 0, period: int = 0, task: int = 0,
) -> None:  # fmt: skip
    """sched_setattr(2) for the thread `task`, 0 for the caller; times in nanoseconds.

    Raises OSError.
    """
    wanted = _Attributes(
        ctypes.sizeof(_Attributes), policy, flags, nice, priority, runtime, deadline, period
    )
    syscall("sched_setattr", syscall_number("sched_setattr"), task, ctypes.byref(wanted), 0)


def run_at_once(task: int = 0, *, share: bool = True) -> None:
    """Let the thread `task`, 0 for the caller, run as soon as it has something to do.

    A short slice interrupts longer ones (Linux 6.12, Documentation/scheduler/sched-eevdf.rst).
    With `share`, for who mostly waits, a larger share of the processor, too: older kernels go by
    that alone. It is not handed down to children. Where that is not allowed nothing changes.
    """
    flags = POLICY_FLAGS["SCHED_FLAG_RESET_ON_FORK"]
    with contextlib.suppress(OSError, LookupError):
        nice = os.getpriority(os.PRIO_PROCESS, task)
        nice = min(_URGENT, nice) if share else nice
        set_scheduler(0, flags=flags, nice=nice, runtime=_SHORTEST, task=task)


def set_io_priority(kind: int, level: int) -> None:
    """ioprio_set(2) for the calling process; raises OSError."""
    value = kind << _IO_CLASS_SHIFT | level
    syscall("ioprio_set", syscall_number("ioprio_set"), _IO_WHO_PROCESS, 0, value)


def is_list(text: str) -> bool:
    """Whether it is a list of processors or nodes, as "0-3,7" (cpuset(7), "List format")."""
    import re  # most have none, and it takes long to load

    return re.fullmatch(_LIST, text) is not None


def numbers_of(text: str) -> set[int]:
    """The numbers of a list such as "0-3,7"; raises ValueError."""
    if not is_list(text):
        raise ValueError(f"{text!r} is no list of numbers")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def set_memory_policy(mode: int, nodes: set[int]) -> None:
    """set_mempolicy(2) for the calling thread, `mode` with its flags; raises OSError."""
    if nodes and max(nodes) >= _NODES:
        raise OSError(22, f"memory node {max(nodes)} is out of range")
    mask = sum(1 << node for node in nodes).to_bytes(_NODES // 8, "little")
    given = ctypes.create_string_buffer(mask, len(mask)) if nodes else None
    number = syscall_number("set_mempolicy")
    syscall("set_mempolicy", number, mode, given, _NODES + 1 if nodes else 0)


def set_personality(value: int) -> None:
    """personality(2); raises OSError."""
    if libc.personality(ctypes.c_ulong(value)) < 0:
        raise oserror(f"personality {value:#x}")


def join_session_keyring(name: str) -> None:
    """A session keyring of one's own (keyctl(2)); raises OSError."""
    number = syscall_number("keyctl")
    syscall(
        "keyctl KEYCTL_JOIN_SESSION_KEYRING", number, _KEYCTL_JOIN_SESSION_KEYRING,
        ctypes.c_char_p(name.encode()),
    )  # fmt: skip
