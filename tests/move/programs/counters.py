"""Holds `MIB` of random bytes, and counts in 8 bytes of each of the first `HOT` MiB of pages.

Says a number now and then, and `WRONG ...` for a page that is not as it was written.
"""

import os
import sys
import time

PAGE = 4096
STEP = 64  # pages between two sleeps


def main():
    pages, hot = int(sys.argv[1]) << 8, int(sys.argv[2]) << 8
    first = os.urandom(pages * PAGE)
    memory = bytearray(first)
    count = 0
    while True:
        count += 1
        for index in range(hot):
            at = index * PAGE + index % 500 * 8
            before = int.from_bytes(memory[at : at + 8], "little")
            if count > 1 and before != count - 1:
                print(f"WRONG counter {index}: {before} instead of {count - 1}", flush=True)
            memory[at : at + 8] = count.to_bytes(8, "little")
            if index % STEP == 0:
                time.sleep(0.002)
        for index in range(count % 16, pages, 16):
            at = index * PAGE + (index % 500 * 8 + 8 if index < hot else 0)
            if memory[at : (index + 1) * PAGE] != first[at : (index + 1) * PAGE]:
                print(f"WRONG page {index}", flush=True)
        print(count, flush=True)


main()
