"""Memory by plain system calls, for the programs that a test tracks."""

import ctypes
import os
import sys

PAGE = 4096
READ_WRITE, PRIVATE = 3, 0x22  # MAP_PRIVATE | MAP_ANONYMOUS
SHARED, FIXED = 0x21, 0x10
DONTNEED, HUGEPAGE, GUARD = 4, 14, 102
MAYMOVE, MOVE_FIXED, DONTUNMAP = 1, 2, 4

libc = ctypes.CDLL(None, use_errno=True)
for name in ("mmap", "mremap", "sbrk"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.mremap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p,
)  # fmt: skip
libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.sbrk.argtypes = (ctypes.c_long,)
FAILED = (1 << 64) - 1


def check(answer):
    if answer in {FAILED, -1}:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def mmap(pages, address=None, flags=0, kind=PRIVATE):
    return check(libc.mmap(address, pages * PAGE, READ_WRITE, kind | flags, -1, 0))


def munmap(address, pages):
    check(libc.munmap(address, pages * PAGE))


def mremap(address, pages, new_pages, flags=MAYMOVE, target=None):
    return check(libc.mremap(address, pages * PAGE, new_pages * PAGE, flags, target))


def madvise(address, pages, advice):
    check(libc.madvise(address, pages * PAGE, advice))


def mprotect(address, pages, protection):
    check(libc.mprotect(address, pages * PAGE, protection))


def write(address, page, data):
    """Bytes at the beginning of a page, and its last one."""
    ctypes.memmove(address + page * PAGE, data, len(data))
    ctypes.memmove(address + page * PAGE + PAGE - 1, data, 1)


def fill(address, pages, random):
    for page in range(pages):
        write(address, page, random.randbytes(16))


def say(*words):
    print(*words, flush=True)


def hear():
    return sys.stdin.readline().strip()
