"""Seccomp filters of an OCI specification, compiled by libseccomp, loaded by seccomp(2).

The library (libseccomp.so.2, which apt itself needs) is called through ctypes; it is only opened
where a specification has `linux.seccomp`. Sources: libseccomp's include/seccomp.h.in, seccomp(2),
and config-linux.md, "Seccomp".
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

from migrate.kernel.libc import syscall, syscall_number
from migrate.runtime.errors import SpecInvalid

_KILL_PROCESS, _KILL_THREAD, _TRAP, _LOG, _ALLOW = (
    0x80000000, 0, 0x00030000, 0x7FFC0000, 0x7FFF0000,
)  # fmt: skip
_ERRNO, _TRACE, _NOTIFY = 0x00050000, 0x7FF00000, 0x7FC00000
ACTIONS = {
    "SCMP_ACT_ALLOW": _ALLOW, "SCMP_ACT_ERRNO": _ERRNO, "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS, "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_LOG": _LOG, "SCMP_ACT_NOTIFY": _NOTIFY, "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_TRAP": _TRAP,
}  # fmt: skip
OPERATORS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        "AARCH64", "ARM", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
        "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "X32", "X86",
        "X86_64",
    )
)  # fmt: skip
# seccomp(2); TSYNC means nothing to a process of one thread, and excludes a listener.
_TSYNC, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": _TSYNC, "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": _WAIT_KILLABLE,
}  # fmt: skip
_SET_MODE_FILTER = 1
_ATTRIBUTE_BAD_ARCHITECTURE, _ATTRIBUTE_NNP = 2, 3  # enum scmp_filter_attr
_BAD_SYSCALL = -1  # __NR_SCMP_ERROR
_INSTRUCTION = 8  # bytes of a struct sock_filter
_LARGEST = 4096  # instructions, BPF_MAXINSNS


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )  # fmt: skip


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def compile_filter(seccomp: dict[str, Any]) -> bytes:
    """The BPF program of `linux.seccomp`; raises SpecInvalid, also where there is no libseccomp."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise SpecInvalid(
            "linux.seccomp can't be carried out", cause=str(error),
            mend="install Debian's libseccomp2, or take linux.seccomp out",
        ) from error  # fmt: skip
    library.seccomp_init.restype = ctypes.c_void_p
    default = _action(seccomp.get("defaultAction"), seccomp.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    try:
        library.seccomp_attr_set(context, _ATTRIBUTE_NNP, ctypes.c_uint32(0))
        library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCHITECTURE, ctypes.c_uint32(default))
        for name in seccomp.get("architectures") or []:
            _add_architecture(library, context, str(name))
        for entry in seccomp.get("syscalls") or []:
            _add_rules(library, context, entry, default)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def flags_of(seccomp: dict[str, Any]) -> int:
    """The flags for `load`; raises SpecInvalid for one that is not known."""
    flags = 0
    for name in seccomp.get("flags") or []:
        if name not in FLAGS:
            raise SpecInvalid(f"the seccomp flag {name} is not supported")
        flags |= FLAGS[name]
    if notifies(seccomp):
        return flags & ~_TSYNC | _NEW_LISTENER
    return flags & ~_WAIT_KILLABLE  # only a listener's is waited for


def notifies(seccomp: dict[str, Any]) -> bool:
    """Whether a system call is put before an agent (seccomp_unotify(2))."""
    entries = seccomp.get("syscalls") or []
    actions = [seccomp.get("defaultAction"), *(entry.get("action") for entry in entries)]
    return "SCMP_ACT_NOTIFY" in actions


def load(program: bytes, flags: int) -> int:
    """Filter this process's system calls from here on, for good; raises OSError.

    With the flag of `notifies` the listener's descriptor, close-on-exec; else 0.
    """
    code = ctypes.create_string_buffer(program, len(program))
    whole = _Program(len(program) // _INSTRUCTION, ctypes.addressof(code))
    number = syscall_number("seccomp")
    return syscall("seccomp SET_MODE_FILTER", number, _SET_MODE_FILTER, flags, ctypes.byref(whole))


def _action(name: Any, number: Any) -> int:
    if name not in ACTIONS:
        raise SpecInvalid(f"the seccomp action {name} is not supported")
    if ACTIONS[name] in {_ERRNO, _TRACE}:
        return int(ACTIONS[name] | ((errno.EPERM if number is None else int(number)) & 0xFFFF))
    if number is not None:  # config-linux.md, "Seccomp": errnoRet, defaultErrnoRet
        raise SpecInvalid(f"the seccomp action {name} has no errno", cause=f"{number} is given")
    return ACTIONS[name]


def _add_architecture(library: Any, context: Any, name: str) -> None:
    short = name.removeprefix("SCMP_ARCH_").lower()
    if name not in ARCHITECTURES:
        raise SpecInvalid(f"the seccomp architecture {name} is not known")
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    token = library.seccomp_arch_resolve_name(ctypes.c_char_p(short.encode()))
    result = library.seccomp_arch_add(context, ctypes.c_uint32(token)) if token else -errno.EINVAL
    if result not in {0, -errno.EEXIST}:
        raise SpecInvalid(f"the seccomp architecture {name} can't be used", cause=_told(result))


def _add_rules(library: Any, context: Any, entry: dict[str, Any], default: int) -> None:
    action = _action(entry.get("action"), entry.get("errnoRet"))
    if action == default:  # libseccomp refuses a rule that says nothing new
        return
    for name in entry.get("names") or []:
        number = library.seccomp_syscall_resolve_name(ctypes.c_char_p(str(name).encode()))
        if number == _BAD_SYSCALL:  # newer than the library: it can't be named, as in runc
            continue
        for comparisons in _alternatives(entry.get("args") or []):
            array = (_Comparison * max(len(comparisons), 1))(*comparisons)
            result = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(action), number, ctypes.c_uint(len(comparisons)), array
            )
            if result not in {0, -errno.EEXIST}:
                raise SpecInvalid(f"the seccomp rule for {name} failed", cause=_told(result))


def _alternatives(arguments: list[dict[str, Any]]) -> list[list[_Comparison]]:
    """Conditions that must all hold; on the same argument twice they are alternatives, as in runc.

    libseccomp can't have one argument twice in a rule.
    """
    made = []
    for entry in arguments:
        if entry.get("op") not in OPERATORS:
            raise SpecInvalid(f"the seccomp operator {entry.get('op')} is not known")
        made.append(_Comparison(entry["index"], OPERATORS[entry["op"]], entry["value"],
                                entry.get("valueTwo", 0)))  # fmt: skip
    if len({entry.arg for entry in made}) < len(made):
        return [[entry] for entry in made]
    return [made]


def _exported(library: Any, context: Any) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        result = library.seccomp_export_bpf(context, descriptor)
        if result != 0:
            raise SpecInvalid("the seccomp filter can't be compiled", cause=_told(result))
        program = os.pread(descriptor, (_LARGEST + 1) * _INSTRUCTION, 0)
    finally:
        os.close(descriptor)
    if len(program) > _LARGEST * _INSTRUCTION:
        raise SpecInvalid("the seccomp filter is too long", cause=f"over {_LARGEST} instructions")
    return program


def _told(result: int) -> str:
    return os.strerror(-result)
