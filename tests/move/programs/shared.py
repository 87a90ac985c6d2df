"""Holds MIB of shared memory, and looks at it again and again; `shared.py MIB`."""

import mmap
import sys
import time

size = int(sys.argv[1]) << 20
held = mmap.mmap(-1, size)
for at in range(0, size, 1 << 20):
    held[at : at + (1 << 20)] = bytes([1 + at % 251]) * (1 << 20)
print("ready", flush=True)
while True:
    for at in range(0, size, 1 << 20):
        if held[at] != 1 + at % 251:
            print("WRONG", at, flush=True)
    time.sleep(0.1)
