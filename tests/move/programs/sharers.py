"""`sharers.py PROCESSES MIB`: children that share their parent's memory copy-on-write."""

import os
import sys
import time


def main():
    count, size = int(sys.argv[1]), int(sys.argv[2]) << 20
    memory = bytearray(os.urandom(1 << 20)) * (size >> 20)
    for _ in range(count - 1):
        if os.fork() == 0:
            while True:
                time.sleep(1)
    number = 0
    while True:
        print(number if memory[:8] == memory[1 << 20 : (1 << 20) + 8] else "WRONG", flush=True)
        number += 1
        time.sleep(0.01)


main()
