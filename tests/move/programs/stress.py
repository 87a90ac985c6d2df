"""Changes its memory in every way that a program can, knows what each page must hold, and checks.

`stress.py PROCESSES`. Each process says `N rounds` now and then, and `WRONG ...` where a page holds
something else. Kinds of memory: private and anonymous (written, unmapped, moved, cut, emptied, made
read-only and writable again), shared between processes, a memfd, and threads that write their own.
"""

import ctypes
import hashlib
import mmap
import os
import random
import struct
import sys
import threading
import time

PAGE = 4096
PRIVATE_ANONYMOUS = 0x22
READ, WRITE = 1, 2
MAYMOVE, DONTNEED = 1, 4
FAILED = (1 << 64) - 1
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def content(seed, index, version):
    if version == 0:
        return bytes(PAGE)
    return hashlib.blake2b(struct.pack("=QQQ", seed, index, version)).digest() * (PAGE // 64)


class Region:
    """Private memory; `pages` has (index, version) of what each page was written with."""

    def __init__(self, seed, count):
        self.seed = seed
        self.base = libc.mmap(None, count * PAGE, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0)
        self.pages = [(0, 0)] * count

    def write(self, rng):
        at = rng.randrange(len(self.pages))
        version = self.pages[at][1] + 1
        ctypes.memmove(self.base + at * PAGE, content(self.seed, at, version), PAGE)
        self.pages[at] = (at, version)

    def empty(self, rng):
        at = rng.randrange(len(self.pages))
        count = min(rng.randrange(1, 9), len(self.pages) - at)
        libc.madvise(self.base + at * PAGE, count * PAGE, DONTNEED)
        self.pages[at : at + count] = [(0, 0)] * count

    def resize(self, rng):
        old, new = len(self.pages), rng.randrange(1, 129)
        base = libc.mremap(self.base, old * PAGE, new * PAGE, MAYMOVE)
        if base == FAILED:
            print("WRONG: mremap:", os.strerror(ctypes.get_errno()), old, new, flush=True)
            return
        self.base = base
        self.pages = self.pages[:new] + [(0, 0)] * (new - old)

    def protect(self, rng):
        libc.mprotect(self.base, len(self.pages) * PAGE, READ)
        time.sleep(rng.random() / 1000)
        libc.mprotect(self.base, len(self.pages) * PAGE, READ | WRITE)

    def unmap(self):
        libc.munmap(self.base, len(self.pages) * PAGE)

    def wrong(self):
        found = []
        for at, (index, version) in enumerate(self.pages):
            data = ctypes.string_at(self.base + at * PAGE, PAGE)
            if data != content(self.seed, index, version):
                held = next(
                    (v for v in range(version + 9) if data == content(self.seed, index, v)), "other"
                )
                place = self.base + at * PAGE
                found.append(f"{place:#x} ({index}, {version}) holds {held}, {len(self.pages)}")
        return found


class Shared:
    """Memory that is nobody's alone, written by this process only."""

    def __init__(self, seed, count, descriptor):
        self.seed, self.map = seed, mmap.mmap(descriptor, count * PAGE)
        self.versions = [0] * count

    def write(self, rng):
        at = rng.randrange(len(self.versions))
        self.versions[at] += 1
        self.map[at * PAGE : (at + 1) * PAGE] = content(self.seed, at, self.versions[at])

    def wrong(self):
        return [
            f"shared {at} ({version})"
            for at, version in enumerate(self.versions)
            if self.map[at * PAGE : (at + 1) * PAGE] != content(self.seed, at, version)
        ]


def in_a_child(regions):
    """A child sees the same, and writes over its own copies."""
    pid = os.fork()
    if pid == 0:
        bad = [line for region in regions for line in region.wrong()]
        for region in regions:
            ctypes.memset(region.base, 255, PAGE)
        if bad:
            print("WRONG in a child:", *bad[:3], flush=True)
        os._exit(0)
    os.waitpid(pid, 0)


def thread_of_its_own(seed):
    rng = random.Random(seed)
    region = Region(seed, 64)
    while True:
        for _ in range(20):
            region.write(rng)
        if bad := region.wrong():
            print("WRONG in a thread:", *bad[:3], flush=True)
        time.sleep(0.002)


def churn(seed):
    rng = random.Random(seed)
    regions = [Region(seed * 1000 + number, rng.randrange(1, 129)) for number in range(12)]
    number = 12
    descriptor = os.memfd_create("stress")
    os.ftruncate(descriptor, 32 * PAGE)
    shared = [Shared(seed * 77, 32, -1), Shared(seed * 78, 32, descriptor)]
    threading.Thread(target=thread_of_its_own, args=(seed * 99,), daemon=True).start()
    rounds = 0
    while True:
        for _ in range(30):
            region = rng.choice(regions)
            rng.choice([region.write] * 6 + [region.empty, region.resize, region.protect])(rng)
            rng.choice(shared).write(rng)
        if rng.random() < 0.3:
            regions.pop(rng.randrange(len(regions))).unmap()
            regions.append(Region(seed * 1000 + number, rng.randrange(1, 129)))
            number += 1
        if rounds % 7 == 0:
            in_a_child(regions)
        if bad := [line for region in [*regions, *shared] for line in region.wrong()]:
            print("WRONG:", *bad[:3], flush=True)
        rounds += 1
        print(rounds, "rounds", flush=True)
        time.sleep(0.02)


def main():
    for number in range(1, int(sys.argv[1])):
        if os.fork() == 0:
            churn(number + 1)
    churn(1)


main()
