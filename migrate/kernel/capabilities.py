"""Capabilities of the calling thread: capset(2), the bounding set, no_new_privs."""

from __future__ import annotations

import ctypes

from migrate.kernel.libc import libc, oserror, syscall, syscall_number

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterable

# include/uapi/linux/capability.h, in the order of their numbers.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBER_OF = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 24, 8, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def mask_of(names: Iterable[str]) -> int:
    """The bit mask of capability names; KeyError for an unknown one."""
    return sum(1 << NUMBER_OF[name] for name in set(names))


def effective_mask(pid: int | str = "self") -> int:
    """CapEff of a process."""
    return sets(pid)["CapEff"]


def sets(pid: int | str = "self") -> dict[str, int]:
    """CapInh, CapPrm, CapEff, CapBnd and CapAmb of a process (proc_pid_status(5)), as bit masks."""
    with open(f"/proc/{pid}/status", "rb") as file:
        rows = [line.split() for line in file if line.startswith(b"Cap")]
    return {name.decode().rstrip(":"): int(mask, 16) for name, mask in rows}


def has(name: str) -> bool:
    """Whether this process has the capability; KeyError for an unknown one."""
    return bool(effective_mask() >> NUMBER_OF[name] & 1)


def drop_bounding(keep: int) -> None:
    """Drop every capability outside `keep` from the bounding set; raises OSError."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for number in range(last + 1):
        if not keep >> number & 1 and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            raise oserror(f"prctl PR_CAPBSET_DROP {number}")


def keep_over_setuid(on: bool) -> None:
    """Keep the permitted set when the last root uid is given up (PR_SET_KEEPCAPS)."""
    if libc.prctl(_PR_SET_KEEPCAPS, int(on), 0, 0, 0) != 0:
        raise oserror("prctl PR_SET_KEEPCAPS")


def set_thread(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread; raises OSError."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    for index in range(2):
        shift = 32 * index
        data[index].effective = effective >> shift & 0xFFFF_FFFF
        data[index].permitted = permitted >> shift & 0xFFFF_FFFF
        data[index].inheritable = inheritable >> shift & 0xFFFF_FFFF
    syscall("capset", syscall_number("capset"), ctypes.byref(header), ctypes.byref(data))


def set_ambient(mask: int) -> None:
    """Make the ambient set exactly `mask`; raises OSError."""
    if libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        raise oserror("prctl PR_CAP_AMBIENT_CLEAR_ALL")
    for number in range(len(NAMES)):
        if mask >> number & 1 and libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0):
            raise oserror(f"prctl PR_CAP_AMBIENT_RAISE {NAMES[number]}")


def set_no_new_privileges() -> None:
    """No execve can gain privileges from here on (PR_SET_NO_NEW_PRIVS)."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise oserror("prctl PR_SET_NO_NEW_PRIVS")
