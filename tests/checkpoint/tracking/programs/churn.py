"""Does everything to its memory that a program can do, in random order, until it is killed.

Arguments: a seed, and whether children are forked that do the same for a while (0 or 1).
"""

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import memory as m

LARGEST = 96
rng = random.Random(int(sys.argv[1]))
areas = {}  # address -> pages
children = set()
depth = 0


def new():
    pages = rng.randrange(1, LARGEST)
    areas[m.mmap(pages)] = pages


def pick():
    return rng.choice(list(areas.items()))


def write_some():
    address, pages = pick()
    for _ in range(rng.randrange(1, 40)):
        m.write(address, rng.randrange(pages), rng.randbytes(16))


def read_some():
    address, pages = pick()
    ctypes.string_at(address + rng.randrange(pages) * m.PAGE, 8)


def unmap():
    address, _ = pick()
    m.munmap(address, areas.pop(address))


def replace():
    address, pages = pick()
    m.munmap(address, pages)
    m.mmap(pages, address, m.FIXED)
    m.write(address, rng.randrange(pages), rng.randbytes(16))


def replace_middle():
    address, pages = pick()
    if pages > 8:
        m.mmap(4, address + 2 * m.PAGE, m.FIXED)
        m.write(address, 3, rng.randbytes(16))


def resize():
    address, pages = pick()
    del areas[address]
    size = rng.randrange(1, LARGEST)
    areas[m.mremap(address, pages, size)] = size


def move():
    address, pages = pick()
    target = m.mmap(pages)
    del areas[address]
    areas[m.mremap(address, pages, pages, m.MAYMOVE | m.MOVE_FIXED, target)] = pages


def move_content():
    address, pages = pick()
    target = m.mremap(address, pages, pages, m.MAYMOVE | m.DONTUNMAP)
    areas[target] = pages
    m.write(address, 0, rng.randbytes(16))


def give_back():
    address, pages = pick()
    first = rng.randrange(pages)
    m.madvise(address + first * m.PAGE, rng.randrange(pages - first) + 1, m.DONTNEED)
    if rng.random() < 0.5:
        m.write(address, first, rng.randbytes(16))


def protect():
    address, pages = pick()
    m.mprotect(address, pages, 1)
    m.mprotect(address, max(1, pages // 2), 3)
    m.mprotect(address, pages, 3)
    m.write(address, 0, rng.randbytes(16))


def grow_heap():
    end = m.check(m.libc.sbrk(4 * m.PAGE))
    ctypes.memmove(end, rng.randbytes(4 * m.PAGE), 4 * m.PAGE)


def huge():
    pages = 1024 + 512
    address = m.mmap(pages)
    m.madvise(address, pages, m.HUGEPAGE)
    for page in range(0, pages, 100):
        m.write(address, page, rng.randbytes(16))
    areas[address] = pages


def guard():
    address = m.mmap(4)
    with contextlib.suppress(OSError):  # Linux 6.13
        m.madvise(address, 1, m.GUARD)
    m.write(address, 2, rng.randbytes(16))


def zero():
    address, _ = pick()
    ctypes.memset(address, 0, m.PAGE)


def fork():
    global depth
    if depth or len(children) > 3 or sys.argv[2] == "0":
        return
    pid = os.fork()
    if pid:
        children.add(pid)
    else:
        depth += 1
        children.clear()
        rng.seed(os.getpid())


def reap():
    for pid in list(children):
        if os.waitpid(pid, os.WNOHANG)[0]:
            children.discard(pid)


COMMON = [write_some] * 30 + [read_some] * 5
RARE = [new, unmap, replace, replace_middle, resize, move, move_content, give_back, give_back,
        protect, zero]  # fmt: skip


def scribble(address):
    own = random.Random(address)
    while True:
        m.write(address, own.randrange(64), own.randbytes(16))


def main():
    for _ in range(8):
        new()
    for _ in range(2):
        threading.Thread(target=scribble, args=(m.mmap(64),), daemon=True).start()
    huge()
    m.say("ready")
    step = 0
    while not depth or step < 60_000:
        step += 1
        if len(areas) < 6:
            new()
        with contextlib.suppress(OSError):  # mremap of what several mappings make up
            rng.choice(COMMON if rng.random() < 0.9 else RARE)()
        if step % 200 == 0 and len(areas) < 40:
            rng.choice([grow_heap, huge, guard, fork, fork])()
            reap()
        if len(areas) > 60:
            unmap()
    os._exit(0)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
main()
