"""Several processes and threads that hold known pages, change their mappings, and check them all.

`pages.py MIB PROCESSES`. When /go is there, each of them forks, unmaps, remaps and empties memory,
checks every page, and says `N intact` or what is wrong.
"""

import contextlib
import ctypes
import hashlib
import os
import struct
import sys
import threading
import time

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
VOID, SIZE = ctypes.c_void_p, ctypes.c_size_t


def content(seed, index):
    return hashlib.blake2b(struct.pack("=QQ", seed, index)).digest() * (PAGE // 64)


def new_region(pages, address=None):
    return libc.mmap(VOID(address), SIZE(pages * PAGE), 3, 0x22, -1, 0)


class Region:
    """`base` holds pages `first` to `first + count` of `seed`, but those in `zero`."""

    def __init__(self, seed, count):
        self.seed, self.first, self.count, self.zero = seed, 0, count, set()
        self.base = new_region(count)
        for index in range(count):
            ctypes.memmove(self.base + index * PAGE, content(seed, index), PAGE)

    def wrong(self, step=1):
        bad = []
        for at in range(0, self.count, step):
            index = self.first + at
            there = ctypes.string_at(self.base + at * PAGE, PAGE)
            if there != (bytes(PAGE) if index in self.zero else content(self.seed, index)):
                what = "zero" if there == bytes(PAGE) else "other"
                bad.append(f"{self.seed}:{index}:{what}")
        return bad

    def cut_end(self, pages):
        libc.munmap(VOID(self.base + (self.count - pages) * PAGE), SIZE(pages * PAGE))
        self.count -= pages

    def cut_start(self, pages):
        libc.munmap(VOID(self.base), SIZE(pages * PAGE))
        self.base += pages * PAGE
        self.first += pages
        self.count -= pages

    def empty(self, at, pages):
        libc.madvise(VOID(self.base + at * PAGE), SIZE(pages * PAGE), 4)
        self.zero |= set(range(self.first + at, self.first + at + pages))

    def move(self, grow=0):
        there = new_region(self.count + grow)
        old, new = self.count * PAGE, (self.count + grow) * PAGE
        moved = libc.mremap(VOID(self.base), SIZE(old), SIZE(new), 3, VOID(there))
        assert moved == there, os.strerror(ctypes.get_errno())
        self.base = there
        self.zero |= set(range(self.first + self.count, self.first + self.count + grow))
        self.count += grow

    def split_and_move(self):
        """A hole in the middle, whose upper half then lies elsewhere."""
        half = Region.__new__(Region)
        low = self.count // 2
        half.seed, half.first, half.zero = self.seed, self.first + low, set(self.zero)
        half.count, half.base = self.count - low, self.base + low * PAGE
        self.count = low
        half.move()
        return half


def say(number, bad):
    text = f"{number} intact" if not bad else f"{number} WRONG {len(bad)}: {' '.join(bad[:6])}"
    with contextlib.suppress(BrokenPipeError):  # the monitor was killed
        os.write(1, text.encode() + b"\n")
    descriptor = os.open("/said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, text.encode() + b"\n")
    os.close(descriptor)


def change_and_check(number, regions):
    bad = []
    a, b, c, d = regions
    threads = [threading.Thread(target=lambda: bad.extend(d.wrong(3))) for _ in range(2)]
    for thread in threads:
        thread.start()
    a.move(grow=3)
    children = []
    for turn in range(3):
        pid = os.fork()
        if pid == 0:
            lost = b.wrong(5)
            b.move()
            b.empty(4, 9)
            grand = os.fork()
            lost += a.wrong(7) + b.wrong() + c.wrong()
            if grand:
                lost += ["grandchild"] if os.waitpid(grand, 0)[1] else []
                say(f"{number}.{turn}", lost)
            os._exit(bool(lost))
        children.append(pid)
        b.empty(20 + turn * 30, 20)
        b.cut_end(5)
        c.cut_start(7)
        a.move()
    upper = c.split_and_move()
    upper.empty(1, 2)
    a.cut_end(10)
    for thread in threads:
        thread.join()
    for region in (a, b, c, upper, d):
        bad += region.wrong()
    for pid in children:
        if os.waitpid(pid, 0)[1]:
            bad.append("child")
    say(number, bad)
    return [a, b, c, upper, d]


def serve(number, pages):
    regions = [Region(number * 10 + i, pages // 4) for i in range(4)]
    say(f"{number} ready", [])
    while not os.path.exists("/go"):
        time.sleep(0.01)
    regions = change_and_check(number, regions)
    while not os.path.exists("/again"):
        time.sleep(0.01)
    say(f"{number} again", [wrong for region in regions for wrong in region.wrong()])
    while True:
        time.sleep(1)


total, processes = int(sys.argv[1]) << 20, int(sys.argv[2])
for number in range(1, processes):
    if os.fork() == 0:
        serve(number, total // processes // PAGE)
serve(0, total // processes // PAGE)
