"""Moves blocks of memory about by mremap(2) and never writes them again, and checks them.

Blocks of 2 MiB, aligned: the kernel moves their page tables whole. Says `N rounds`, and `WRONG ...`
where a page is not what it must be.
"""

import ctypes
import random
import struct
import time

PAGE, BLOCK = 4096, 2 << 20
BASE = 0x7000_0000_0000
SLOTS = 6  # one is empty
NOHUGEPAGE = 15
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, ctypes.c_int, ctypes.c_void_p]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def place(slot):
    return BASE + slot * 2 * BLOCK  # with a gap, so that they stay apart


def main():
    held = {}
    for slot in range(SLOTS - 1):
        libc.mmap(place(slot), BLOCK, 3, 0x100022, -1, 0)
        libc.madvise(place(slot), BLOCK, NOHUGEPAGE)
        for page in range(BLOCK // PAGE):
            ctypes.memmove(place(slot) + page * PAGE, struct.pack("=QQ", slot + 1, page), 16)
        held[slot] = slot + 1
    rng = random.Random(1)
    rounds = 0
    while True:
        (empty,) = set(range(SLOTS)) - held.keys()
        slot = rng.choice(list(held))
        assert libc.mremap(place(slot), BLOCK, BLOCK, 3, place(empty)) == place(empty)
        held[empty] = held.pop(slot)
        for at, content in held.items():
            bad = sum(
                ctypes.string_at(place(at) + page * PAGE, 16) != struct.pack("=QQ", content, page)
                for page in range(BLOCK // PAGE)
            )
            if bad:
                print(f"WRONG: {bad} pages of block {content} at {at}", flush=True)
        rounds += 1
        print(rounds, "rounds", flush=True)
        time.sleep(0.05)


main()
