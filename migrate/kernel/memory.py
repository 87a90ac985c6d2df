"""Another process's memory: read in one call, whatever it does meanwhile."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING

from migrate.kernel.libc import libc, oserror

if TYPE_CHECKING:
    import numpy

PAGE = 4096
IOV_MAX = 1024
"""Ranges that one process_vm_readv(2) takes (include/uapi/linux/uio.h, UIO_MAXIOV)."""

libc.process_vm_readv.restype = ctypes.c_ssize_t
libc.process_vm_readv.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
)  # fmt: skip


def read_runs(pid: int, runs: numpy.ndarray, buffer: bytearray) -> numpy.ndarray:
    """Read page runs one after another into `buffer`; the runs that were there, in order.

    `runs` has the shape (n, 2), uint64: [start, end), page-aligned, together no longer than the
    buffer. A page that is not mapped (any more) is left out. Raises ProcessLookupError when the
    process has gone, OSError.
    """
    import numpy as np

    done: list[numpy.ndarray] = []
    rest, filled = runs, 0
    while len(rest):
        got = _read(pid, rest[:IOV_MAX], buffer, filled)
        # It stops at the first page that can't be read.
        ends = np.cumsum(rest[:IOV_MAX, 1] - rest[:IOV_MAX, 0])
        whole = int(np.searchsorted(ends, got, side="right"))
        done.append(rest[:whole])
        if whole == min(len(rest), IOV_MAX):
            filled, rest = filled + got, rest[whole:]
            continue
        before = int(ends[whole - 1]) if whole else 0
        start, end = (int(bound) for bound in rest[whole])
        bad = start + (got - before) // PAGE * PAGE
        filled += before + bad - start
        done.append(_run(start, bad))
        rest = np.concatenate([_run(bad + PAGE, end), rest[whole + 1 :]])
    return np.concatenate(done) if done else runs


class _Range(ctypes.Structure):
    """struct iovec, readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_page(pid: int, address: int) -> bytes:
    """The page at `address`, for who waits: `read_runs` takes 0.1 ms to prepare.

    Raises ProcessLookupError when the process has gone, OSError (EFAULT: there is no such page).
    """
    page = ctypes.create_string_buffer(PAGE)
    here, there = _Range(ctypes.addressof(page), PAGE), _Range(address, PAGE)
    got = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if got < 0:
        raise oserror(f"process_vm_readv of {pid}")
    return page.raw


def _run(start: int, end: int) -> numpy.ndarray:
    """One run as an array, none if it is empty."""
    import numpy as np

    return np.array([(start, end)] if end > start else [], dtype=np.uint64).reshape(-1, 2)


def _read(pid: int, runs: numpy.ndarray, buffer: bytearray, offset: int) -> int:
    """One process_vm_readv(2) of at most IOV_MAX runs; the bytes read, 0 if the first is bad."""
    import numpy as np

    remote = np.empty_like(runs)
    remote[:, 0] = runs[:, 0]
    remote[:, 1] = runs[:, 1] - runs[:, 0]
    size = int(remote[:, 1].sum())
    place = (ctypes.c_char * size).from_buffer(buffer, offset)
    local = np.array([ctypes.addressof(place), size], dtype=np.uint64)
    got: int = libc.process_vm_readv(pid, local.ctypes.data, 1, remote.ctypes.data, len(remote), 0)
    if got >= 0:
        return got
    error = oserror(f"process_vm_readv of {pid}")
    if error.errno == errno.EFAULT:
        return 0
    raise error
