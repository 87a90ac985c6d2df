"""Holds memory of a known content, counts, and says so when a page is not what it was."""

import sys
import time

PAGE = 4096


def main() -> None:
    pages = int(sys.argv[1]) << 8
    memory = bytearray(pages * PAGE)
    for index in range(pages):
        memory[index * PAGE : index * PAGE + 8] = index.to_bytes(8, "little")
    count = 0
    while True:
        index = count * 7919 % pages
        found = int.from_bytes(memory[index * PAGE : index * PAGE + 8], "little")
        print(f"WRONG {index} {found}" if found != index else count, flush=True)
        count += 1
        time.sleep(0.01)


main()
