"""Which devices a cgroup v2 may use: a BPF program of type CGROUP_DEVICE (bpf(2)).

Sources: include/uapi/linux/bpf.h (struct bpf_cgroup_dev_ctx, union bpf_attr) and
Documentation/admin-guide/cgroup-v2.rst, "Device controller".
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from migrate.kernel.libc import syscall, syscall_number

Rule = tuple[bool, str]
"""Allow or deny, and the rule in the words of the v1 controller: "c 1:3 rwm", "a *:* rwm"."""
_PROG_LOAD, _PROG_ATTACH, _PROG_BY_ID, _PROG_QUERY = 5, 8, 13, 16
_CGROUP_DEVICE, _ATTACH_DEVICE, _ALLOW_MULTI, _REPLACE = 15, 6, 2, 4
_QUERY_SIZE = 64  # bytes that a kernel may write to, whatever size it is told (union bpf_attr)
_MOST_PROGRAMS = 64  # of one group (include/linux/bpf-cgroup.h, BPF_CGROUP_MAX_PROGS)
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL, _EVERYTHING = 7, "a *:* rwm"
# Instructions: class and operation in one byte.
_LOAD, _AND, _SHIFT, _MOVE, _COPY, _IF_NOT, _IF, _EXIT = (
    0x61, 0x54, 0x74, 0xB7, 0xBC, 0x55, 0x15, 0x95,
)  # fmt: skip
_RESULT, _SCRATCH, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)


def _instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | to, offset, value)


def program_of(rules: Sequence[Rule]) -> bytes:
    """The program: the last rule that fits decides, and nothing is allowed where none does."""
    parts = [
        _instruction(_LOAD, _TYPE, _SCRATCH, 0),
        _instruction(_COPY, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT, _WANTED, value=16),
        _instruction(_LOAD, _MAJOR, _SCRATCH, 4),
        _instruction(_LOAD, _MINOR, _SCRATCH, 8),
    ]
    for allow, words in reversed(rules):
        parts.append(_rule(allow, words))
        if words == _EVERYTHING:  # nothing behind it is reached, which the kernel refuses
            return b"".join(parts)
    return b"".join([*parts, _instruction(_MOVE, _RESULT), _instruction(_EXIT)])


def _rule(allow: bool, words: str) -> bytes:
    kind, numbers, access = words.split()
    major, minor = numbers.split(":")
    mask = sum(_ACCESS[letter] for letter in set(access))
    checks: list[tuple[int, int, int]] = []  # operation that skips the rule, register, value
    lines: list[bytes] = []
    if kind != "a":
        checks.append((_IF_NOT, _TYPE, _TYPES[kind]))
    for register, number in ((_MAJOR, major), (_MINOR, minor)):
        if number != "*":
            checks.append((_IF_NOT, register, int(number)))
    if mask != _ALL:  # allowed if all that is wanted is in it, denied if anything is
        lines.append(_instruction(_COPY, _SCRATCH, _WANTED))
        lines.append(_instruction(_AND, _SCRATCH, value=_ALL & ~mask if allow else mask))
        checks.append((_IF_NOT if allow else _IF, _SCRATCH, 0))
    length = len(lines) + len(checks) + 2
    for code, register, value in checks:
        lines.append(_instruction(code, register, offset=length - len(lines) - 1, value=value))
    lines += [_instruction(_MOVE, _RESULT, value=int(allow)), _instruction(_EXIT)]
    return b"".join(lines)


def attach(group: str | os.PathLike[str], rules: Sequence[Rule]) -> None:
    """Let a cgroup v2 directory's processes use what `rules` allow; raises OSError.

    A program that is there already is replaced, without a moment between the two. Raises OSError
    (EEXIST) where there are several, of which one is not ours.
    """
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    old = -1
    loaded = _load(rules)
    try:
        found = _attached(directory)
        if len(found) > 1:
            raise OSError(17, f"{len(found)} device programs are attached to {os.fspath(group)}")
        flags = _ALLOW_MULTI
        if found:
            old = _bpf("bpf PROG_GET_FD_BY_ID", _PROG_BY_ID, struct.pack("=III", found[0], 0, 0))
            flags |= _REPLACE
        wanted = struct.pack("=IIIII", directory, loaded, _ATTACH_DEVICE, flags, max(old, 0))
        _bpf("bpf PROG_ATTACH", _PROG_ATTACH, wanted)
    finally:
        for descriptor in (directory, loaded, old):
            if descriptor >= 0:
                os.close(descriptor)


def _attached(directory: int) -> list[int]:
    """The ids of the device programs of a group."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    query = struct.pack(
        "=IIIIQI", directory, _ATTACH_DEVICE, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS
    )
    buffer = ctypes.create_string_buffer(query, _QUERY_SIZE)
    _call("bpf PROG_QUERY", _PROG_QUERY, buffer)
    (count,) = struct.unpack_from("=I", buffer.raw, 24)
    return list(ids[:count])


def _load(rules: Sequence[Rule]) -> int:
    program = ctypes.create_string_buffer(program_of(rules))
    licence = ctypes.create_string_buffer(b"GPL")
    count = (len(program) - 1) // 8
    load = struct.pack(
        "=IIQQIIQII", _CGROUP_DEVICE, count, ctypes.addressof(program), ctypes.addressof(licence),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    return _bpf("bpf PROG_LOAD", _PROG_LOAD, load)


def _bpf(context: str, command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _call(context, command, buffer)


def _call(context: str, command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    number = syscall_number("bpf")
    return syscall(context, number, command, ctypes.byref(buffer), len(buffer))
