"""Memory whose mappings change their flags (madvise(2)) all the time; each is checked in smaps.

`advised.py MIB`: prints a number for each check that found the flags as they were set last, and
"WRONG" with what it found for any other.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import random
import sys
import time

PAGE = mmap.PAGESIZE
PART = 64 * PAGE
# What is asked for, and the flag of proc_pid_smaps(5) that it sets; its opposite.
ADVICE = {"dc": (10, 11), "dd": (16, 17), "mg": (12, 13), "hg": (14, 15)}
SHOWN = {"dc", "dd", "mg", "hg", "nh"}


def flags_at(wanted: set[int]) -> dict[int, set[str]]:
    """The flags of the mappings that hold these addresses."""
    found: dict[int, set[str]] = {}
    start = end = 0
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            fields = line.split()
            if fields[0] == "VmFlags:":
                told = SHOWN.intersection(fields[1:])
                found |= {address: told for address in wanted if start <= address < end}
            elif not fields[0].endswith(":"):
                start, end = (int(part, 16) for part in fields[0].split("-"))
    return found


def main() -> None:
    """Change, wait a little, check."""
    size = int(sys.argv[1]) << 20
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, PAGE):
        memory[at] = 1 + at % 251
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    expected: dict[int, set[str]] = {at: set() for at in range(0, 16 * PART, PART)}
    number = 0
    while True:
        at = random.choice(list(expected))
        flag, (on, off) = random.choice(list(ADVICE.items()))
        if flag in expected[at]:
            memory.madvise(off, at, PART)
            expected[at] -= {flag}
            expected[at] |= {"nh"} if flag == "hg" else set()
        else:
            memory.madvise(on, at, PART)
            expected[at] |= {flag}
            expected[at] -= {"nh"} if flag == "hg" else set()
        time.sleep(0.003)
        for _attempt in range(5):  # a move in the midst of reading tears smaps in two
            found, right = {}, False
            with contextlib.suppress(IndexError, KeyError, ValueError):
                found = flags_at({base + at for at in expected})
                right = all(found[base + at] == flags for at, flags in expected.items())
            if right:
                break
        number += 1
        print(number if right else f"WRONG {found} {expected}", flush=True)


main()
