"""Changes many small files in every way that a program can, keeps its own account, and checks.

`smallfiles.py COUNT DIRECTORY...`. Says `N changes` now and then, and `WRONG ...` where the tree is
not as it was made. One file in each directory (`mapped`) is written through MAP_SHARED alone.
"""

import contextlib
import mmap
import os
import random
import shutil
import sys
import time


class Tree:
    def __init__(self, path, count):
        self.path = path
        self.content = {}  # by path: bytes of a file, text of a link, None of a directory
        self.modes = {}
        os.makedirs(path, exist_ok=True)
        for number in range(0, count, 50):
            self.directory(f"d{number}")
        for number in range(count):
            self.write(f"d{number // 50 * 50}/f{number}")
        self.write("mapped", bytearray(4096))
        self.file = open(f"{path}/mapped", "r+b", buffering=0)  # noqa: SIM115
        self.map = mmap.mmap(self.file.fileno(), 0)
        self.serial = count

    def directory(self, name):
        os.mkdir(f"{self.path}/{name}")
        self.content[name] = None
        self.modes[name] = os.stat(f"{self.path}/{name}").st_mode

    def write(self, name, data=None):
        self.content[name] = os.urandom(random.randrange(3000)) if data is None else data
        with open(f"{self.path}/{name}", "wb") as file:
            file.write(self.content[name])
        self.modes[name] = os.stat(f"{self.path}/{name}").st_mode

    def one(self, *kinds):
        return random.choice([
            name for name, held in self.content.items()
            if isinstance(held, kinds) and name != "mapped" and not name.startswith("hard")
        ])  # fmt: skip

    def fresh(self):
        self.serial += 1
        return f"{self.one(type(None))}/n{self.serial}"

    def change(self):
        ways = (self.rewrite, self.mapped, self.remove, self.rename, self.mode, self.new,
                self.link, self.moved_directory, self.replaced_directory, self.hard)  # fmt: skip
        random.choice(ways)()

    def rewrite(self):
        self.write(self.one(bytes))

    def mapped(self):
        at = random.randrange(4000)
        self.map[at : at + 8] = self.content["mapped"][at : at + 8] = os.urandom(8)

    def remove(self):
        name = self.one(bytes, str)
        os.unlink(f"{self.path}/{name}")
        del self.content[name], self.modes[name]
        self.new()

    def new(self):
        if len(self.content) < 5000:
            self.write(self.fresh())

    def rename(self):
        name, fresh = self.one(bytes, str), self.fresh()
        os.rename(f"{self.path}/{name}", f"{self.path}/{fresh}")
        self.content[fresh], self.modes[fresh] = self.content.pop(name), self.modes.pop(name)

    def mode(self):
        name = self.one(bytes)
        os.chmod(f"{self.path}/{name}", random.choice((0o600, 0o644, 0o4755)))
        self.modes[name] = os.stat(f"{self.path}/{name}").st_mode

    def link(self):
        name = self.fresh()
        os.symlink(f"to-{name}", f"{self.path}/{name}")
        self.content[name], self.modes[name] = f"to-{name}", os.lstat(f"{self.path}/{name}").st_mode

    def below(self, directory):
        return [name for name in self.content if name.startswith(f"{directory}/")]

    def moved_directory(self):
        self.serial += 1
        name, fresh = self.one(type(None)), f"d{self.serial}"
        if name.startswith("d") and "/" not in name:
            os.rename(f"{self.path}/{name}", f"{self.path}/{fresh}")
            for each in [name, *self.below(name)]:
                renamed = fresh + each[len(name) :]
                self.content[renamed] = self.content.pop(each)
                self.modes[renamed] = self.modes.pop(each)

    def replaced_directory(self):
        name = self.one(type(None))
        shutil.rmtree(f"{self.path}/{name}")
        inside = self.below(name)
        for each in inside:
            del self.content[each], self.modes[each]
        del self.content[name], self.modes[name]
        self.directory(name)
        for number in range(len(inside)):  # as many, and other ones
            self.write(f"{name}/again{number}")

    def hard(self):
        """`hard`: another name of `hard-too`, in one of the directories from time to time."""
        for name in ("hard", "hard-too"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}/{name}")
        self.write("hard")
        os.link(f"{self.path}/hard", f"{self.path}/hard-too")
        self.content["hard-too"], self.modes["hard-too"] = self.content["hard"], self.modes["hard"]

    def check(self):
        found = set()
        for folder, directories, files in os.walk(self.path):
            for each in (*directories, *files):
                name = os.path.relpath(f"{folder}/{each}", self.path)
                found.add(name)
                if name not in self.content:
                    print(f"WRONG {self.path}/{name} is there", flush=True)
                elif self.held(name) != (self.modes[name], self.content[name]):
                    print(f"WRONG {self.path}/{name}", flush=True)
        for name in self.content.keys() - found:
            print(f"WRONG {self.path}/{name} is gone", flush=True)
        if "hard" in found and not os.path.samefile(f"{self.path}/hard", f"{self.path}/hard-too"):
            print(f"WRONG {self.path}/hard is not one file", flush=True)

    def held(self, name):
        path = f"{self.path}/{name}"
        mode, held = os.lstat(path).st_mode, self.content[name]
        if held is None:
            return mode, None
        if isinstance(held, str):
            return mode, os.readlink(path)
        with open(path, "rb") as file:
            return mode, type(held)(file.read())


def main():
    trees = [Tree(path, int(sys.argv[1])) for path in sys.argv[2:]]
    changes = 0
    while True:
        random.choice(trees).change()
        changes += 1
        if changes % 50 == 0:
            for tree in trees:
                tree.check()
            print(f"{changes} changes", flush=True)
        time.sleep(0.001)


main()
