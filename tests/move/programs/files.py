"""Changes large files in every way that a program can, keeps its own account, and checks.

`files.py DIRECTORY...`. Says `N changes` now and then, and `WRONG ...` where a file holds something
else than was written. In each directory: `append`, `middle`, `cut`, `replaced`, `mapped` (written
through MAP_SHARED, for good), `brief` (mapped, written and unmapped each time), `cold` (never
written), `holes` (written and emptied again).
"""

import ctypes
import mmap
import os
import random
import sys
import time

MIB = 1 << 20
PUNCH_HOLE_KEEP_SIZE = 3
libc = ctypes.CDLL(None, use_errno=True)


class Directory:
    def __init__(self, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        self.account = {}
        for name in ("append", "middle", "cut", "replaced", "mapped", "brief", "cold", "holes"):
            self.account[name] = bytearray(os.urandom(random.randrange(MIB, 3 * MIB)))
            with open(f"{path}/{name}", "wb") as file:
                file.write(self.account[name])
        self.files = {}
        for name in self.account:
            self.files[name] = open(f"{path}/{name}", "r+b", buffering=0)  # noqa: SIM115
        self.map = mmap.mmap(self.files["mapped"].fileno(), 0)
        os.link(f"{path}/middle", f"{path}/other-name")

    def some(self, name, most=100_000):
        held = self.account[name]
        start = random.randrange(max(1, len(held) - most))
        data = os.urandom(min(random.randrange(1, most), len(held) - start))
        held[start : start + len(data)] = data
        return start, data

    def change(self):
        getattr(
            self,
            random.choice(
                (
                    "append",
                    "middle",
                    "cut",
                    "replaced",
                    "mapped",
                    "mapped",
                    "mapped",
                    "brief",
                    "brief",
                    "holes",
                )
            ),
        )()

    def append(self):
        if len(self.account["append"]) > 4 * MIB:
            self.account["append"] = bytearray()
            self.files["append"].truncate(0)
        data = os.urandom(random.randrange(1, 50_000))
        os.pwrite(self.files["append"].fileno(), data, len(self.account["append"]))
        self.account["append"] += data

    def middle(self):
        start, data = self.some("middle")
        os.pwrite(self.files["middle"].fileno(), data, start)

    def cut(self):
        size = random.randrange(10_000, 3 * MIB)
        held = self.account["cut"]
        del held[size:]
        held.extend(bytes(size - len(held)))
        self.files["cut"].truncate(size)
        start, data = self.some("cut")
        os.pwrite(self.files["cut"].fileno(), data, start)

    def replaced(self):
        self.account["replaced"] = bytearray(os.urandom(random.randrange(MIB, 2 * MIB)))
        with open(f"{self.path}/new", "wb") as file:
            file.write(self.account["replaced"])
        os.rename(f"{self.path}/new", f"{self.path}/replaced")

    def mapped(self):
        start, data = self.some("mapped", 20_000)
        self.map[start : start + len(data)] = data

    def brief(self):
        start, data = self.some("brief", 20_000)
        with mmap.mmap(self.files["brief"].fileno(), 0) as brief:
            brief[start : start + len(data)] = data

    def holes(self):
        held = self.account["holes"]
        start = random.randrange(len(held) // 4096) * 4096
        length = min(random.randrange(1, 100) * 4096, len(held) - start)
        held[start : start + length] = bytes(length)
        descriptor = self.files["holes"].fileno()
        offsets = ctypes.c_long(start), ctypes.c_long(length)
        if libc.fallocate(descriptor, PUNCH_HOLE_KEEP_SIZE, *offsets):
            print("WRONG fallocate", flush=True)
        start, data = self.some("holes")
        os.pwrite(descriptor, data, start)

    def check(self):
        for name, held in self.account.items():
            with open(f"{self.path}/{name}", "rb") as file:
                found = file.read()
            if found != held:
                at = next(
                    (i for i, (a, b) in enumerate(zip(found, held, strict=False)) if a != b), "end"
                )
                print(f"WRONG {self.path}/{name} at {at}: {len(found)}, {len(held)}", flush=True)
        if self.map[:] != self.account["mapped"]:
            print(f"WRONG {self.path}/mapped through the mapping", flush=True)
        if not os.path.samefile(f"{self.path}/middle", f"{self.path}/other-name"):
            print(f"WRONG {self.path}/other-name", flush=True)


def main():
    directories = [Directory(path) for path in sys.argv[1:]]
    changes = 0
    while True:
        random.choice(directories).change()
        changes += 1
        if changes % 20 == 0:
            for directory in directories:
                directory.check()
            print(f"{changes} changes", flush=True)
        time.sleep(0.002)


main()
