"""Writes a few pages of a large file all the time, as a database does, and checks that they stay.

`database.py FILE MIB_OF_FILE MIB_WRITTEN MIB_OF_MEMORY RATE`: random pages of MIB_WRITTEN in the
middle of FILE, RATE a second, one in eight with fdatasync(2). Every page of the file, and the first
words of each page of memory, hold their number and how often they were written. Says `N changes`
now and then, and `WRONG ...` for a page that is not as it was written.
"""

import os
import random
import sys
import time

PAGE = 4096


def content(number, version):
    return random.Random(number << 32 | version).randbytes(64) * (PAGE // 64)


class Database:
    def __init__(self, path, pages, hot):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.pages = pages
        self.first = (pages - hot) // 2
        self.versions = [0] * hot
        for number in range(pages):
            os.write(self.file, content(number, 0))
        os.fsync(self.file)

    def change(self, count):
        index = random.randrange(len(self.versions))
        self.versions[index] += 1
        number = self.first + index
        os.pwrite(self.file, content(number, self.versions[index]), number * PAGE)
        if count % 8 == 0:
            os.fdatasync(self.file)

    def check(self, number):
        at = number - self.first
        version = self.versions[at] if 0 <= at < len(self.versions) else 0
        if os.pread(self.file, PAGE, number * PAGE) != content(number, version):
            print(f"WRONG page {number} of version {version}", flush=True)

    def check_all(self):
        for number in range(self.pages):
            self.check(number)


def main():
    size, hot, memory_size, rate = (int(word) for word in sys.argv[2:])
    memory = bytearray(os.urandom(memory_size << 20))
    for index in range(memory_size << 8):
        memory[index * PAGE : index * PAGE + 4] = index.to_bytes(4, "little")
    database = Database(sys.argv[1], size << 8, hot << 8)
    print("ready", flush=True)
    count = 0
    while True:
        database.change(count)
        database.check(random.randrange(database.pages))
        index = count % len(memory) * 7919 % (memory_size << 8)
        if memory[index * PAGE : index * PAGE + 4] != index.to_bytes(4, "little"):
            print(f"WRONG memory {index}", flush=True)
        count += 1
        if count % rate == 0:
            print(f"{count} changes", flush=True)
        if os.path.exists(sys.argv[1] + ".check"):
            database.check_all()
            os.unlink(sys.argv[1] + ".check")
            print("checked", flush=True)
        time.sleep(1 / rate)


main()
