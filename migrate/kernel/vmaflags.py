"""The flags of a process's mappings (vm_flags), without a look at its pages.

/proc/PID/smaps tells them, but counts all pages on the way, 10 ms a GiB. A BPF iterator over the
mappings of one task (Linux 5.15, kernel/bpf/task_iter.c, "task_vma") reads them alone, in 40 us for
200 mappings; it holds the lock that smaps holds.
"""

from __future__ import annotations

import ctypes
import os
import struct

from migrate.kernel.btf import KIND_FUNCTION, Btf
from migrate.kernel.libc import syscall, syscall_number

_FUNCTION = "bpf_iter_task_vma"
# include/uapi/linux/bpf.h
_PROG_LOAD, _LINK_CREATE, _ITER_CREATE = 5, 28, 33
_TYPE_TRACING, _TRACE_ITER = 26, 28
_SEQ_WRITE = 127
_LOAD = struct.Struct("=IIQQIIQII16sIIIIQIIQII")  # union bpf_attr up to attach_btf_id
_LINK = struct.Struct("=IIIIQI4x")
_ITER = struct.Struct("=II")
_TASK = struct.Struct("=III4x")  # union bpf_iter_link_info, task: tid, pid, pid_fd
_ROW = struct.Struct("=QQQ")
_CHUNK = 1 << 18
_MOST = 1000  # mappings; a buffer of 8 pages (kernel/bpf/bpf_iter.c) holds 1365
_LICENSE = b"Dual MIT/GPL"  # bpf_seq_write is for such programs only

Row = tuple[int, int, int]
"""A mapping's first address, the one behind its last, and its vm_flags."""


class VmaFlags:
    """The loaded program."""

    def __init__(self) -> None:
        """Raises OSError where BPF can't be used: no such iterator, no permission, no BTF."""
        try:
            kernel = Btf()
            function = kernel.find(_FUNCTION, KIND_FUNCTION)
            offsets = [
                kernel.offset("vm_area_struct", name) for name in ("vm_start", "vm_end", "vm_flags")
            ]
        except (KeyError, ValueError) as error:
            raise OSError(f"the kernel's BTF: {error}") from error
        code = ctypes.create_string_buffer(_program(*offsets))
        licence = ctypes.create_string_buffer(_LICENSE)
        self._program = _bpf(
            _PROG_LOAD,
            _LOAD.pack(
                _TYPE_TRACING, (len(code) - 1) // 8, ctypes.addressof(code),
                ctypes.addressof(licence), 0, 0, 0, 0, 0, b"", 0, _TRACE_ITER, 0, 0, 0, 0, 0, 0, 0,
                function,
            ),
        )  # fmt: skip

    def read(self, pid: int) -> list[Row]:
        """All mappings of a process in ascending order, none when it is gone.

        Raises OSError, for a process with more than a thousand mappings, too.
        """
        which = ctypes.create_string_buffer(_TASK.pack(pid, 0, 0))
        attributes = _LINK.pack(
            self._program, 0, _TRACE_ITER, 0, ctypes.addressof(which), _TASK.size
        )
        link = _bpf(_LINK_CREATE, attributes)
        try:
            reader = _bpf(_ITER_CREATE, _ITER.pack(link, 0))
        finally:
            os.close(link)
        rows: list[Row] = []
        try:
            while part := os.read(reader, _CHUNK):
                rows += _ROW.iter_unpack(part)
                # The iterator's buffer is full: from there on it may begin anew, again and again.
                if len(rows) >= _MOST:
                    raise OSError(f"process {pid} has too many mappings to tell their flags")
        finally:
            os.close(reader)
        return rows

    def close(self) -> None:
        """Give the program back."""
        os.close(self._program)


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2), close-on-exec; raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    number = syscall_number("bpf")
    return syscall(f"bpf command {command}", number, command, ctypes.byref(buffer), len(attributes))


def _program(start: int, end: int, flags: int) -> bytes:
    """BPF code: bpf_seq_write(ctx->meta->seq, {start, end, flags of ctx->vma}, 24).

    `ctx` is a struct bpf_iter__task_vma: pointers to meta, task and vma, which is NULL at the end.
    """
    code = [
        _instruction(0x79, 7, 1, 16),  # r7 = ctx->vma
        _instruction(0x55, 7, offset=2),  # if r7 != 0 skip the next two
        _instruction(0xB7, 0),  # r0 = 0
        _instruction(0x95),  # exit
        _instruction(0x79, 6, 1, 0),  # r6 = ctx->meta
        _instruction(0x79, 6, 6, 0),  # r6 = meta->seq
    ]
    for slot, member in ((-24, start), (-16, end), (-8, flags)):
        code.append(_instruction(0x79, 2, 7, member))  # r2 = vma->member
        code.append(_instruction(0x7B, 10, 2, slot))  # onto the stack
    code += [
        _instruction(0xBF, 1, 6),  # r1 = r6
        _instruction(0xBF, 2, 10),  # r2 = the stack's end
        _instruction(0x07, 2, number=-24),  # r2 -= 24
        _instruction(0xB7, 3, number=24),  # r3 = 24
        _instruction(0x85, number=_SEQ_WRITE),  # call; what does not fit is written again
        _instruction(0xB7, 0),
        _instruction(0x95),
    ]
    return b"".join(code)


def _instruction(
    code: int, target: int = 0, source: int = 0, offset: int = 0, *, number: int = 0
) -> bytes:  # fmt: skip
    return struct.pack("=BBhi", code, target | source << 4, offset, number)
