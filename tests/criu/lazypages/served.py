"""Processes whose memory a page server fills, that server, and a test's hold on both."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.criu.lazypages import region as r

PAGE = 4096
SLOW = 1  # bytes a second: after one step, only faults are answered
ROOT = Path(__file__).parents[3]


class Keeper:
    """A page server and who keeps it."""

    def __init__(self, directory: Path, rate: int, die_at: int | None = None) -> None:
        """With `die_at`, the first server kills itself at that line (`dying.py`)."""
        self.directory, self.store = directory, directory / "pages"
        self.socket, self.filling = str(directory / "s"), directory / "filling"
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/runtime/keeper.py")], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self.process.stdin
        request = {
            "module": "migrate.criu.lazypages.server", "directory": str(self.store),
            "socket": self.socket, "filling": str(self.filling),
            "options": {"rate": rate, "die_at": die_at},
        }  # fmt: skip
        if die_at is not None:
            request["module"] = "tests.criu.lazypages.dying"
        self.process.stdin.write(json.dumps(request) + "\n")
        self.server = int(self.word())

    def word(self) -> str:
        """The next line: a server's pid, or how it ended."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill the server, and wait for the next."""
        os.kill(self.server, signal.SIGKILL)
        self.server = int(self.word())

    def begin(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # all is filled, and nobody keeps it any more
            self.process.stdin.write("begin\n")

    def all_filled(self) -> None:
        assert self.process.wait(60) == 0
        assert not self.filling.exists()
        assert {path.name for path in self.store.iterdir()} <= {"asked"}

    def close(self) -> None:
        self.process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.server, signal.SIGKILL)
        print(self.process.communicate()[1])  # shown when a test fails


@pytest.fixture
def keep() -> Iterator[Callable[..., Keeper]]:
    """On a tmpfs: other file systems do not have files as large as an address."""
    directory = Path(tempfile.mkdtemp(prefix="mgpages", dir="/dev/shm"))
    (directory / "pages").mkdir()
    made: list[Keeper] = []

    def make(rate: int = 0, die_at: int | None = None) -> Keeper:
        made.append(Keeper(directory, rate, die_at))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()
    shutil.rmtree(directory)


def child(work: Callable[[], None]) -> int:
    """Run it in a process of its own: a fault that nobody answers can't be interrupted."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 -- never back into pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def ends_well(pid: int, limit: float = 60) -> None:
    descriptor = os.pidfd_open(pid)
    ready, _, _ = select.select([descriptor], [], [], limit)
    os.close(descriptor)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert ready, "it hangs"
    assert status == 0


class Served:
    """A region of `pages` pages that is filled as process `pid`."""

    def __init__(self, keeper: Keeper, pages: int, *, pid: int = 7, holes: int = 0) -> None:
        self.keeper, self.pages, self.pid, self.holes = keeper, pages, pid, holes
        self.base = r.map_anonymous(pages * PAGE)
        r.write_store(keeper.store, pid, self.base, pages, seed=pid, holes=holes)

    def register(self) -> int:
        uffd = r.open_uffd()
        r.register(uffd, self.base, self.pages * PAGE)
        return uffd

    def expected(self, index: int) -> bytes:
        empty = self.holes and index % self.holes == self.holes - 1
        return bytes(PAGE) if empty else r.page(self.pid, index)

    def check(self, base: int | None = None, first: int = 0, end: int | None = None) -> None:
        base = self.base if base is None else base
        last = self.pages if end is None else end
        wrong = [i for i in range(first, last) if r.read(base + i * PAGE) != self.expected(i)]
        assert wrong == []


def connect(keeper: Keeper, *served: Served) -> None:
    """What `criu restore` does."""
    channel = r.connect(keeper.socket)
    for one in served:
        uffd = one.register()
        r.introduce(channel, one.pid, uffd)
        os.close(uffd)
    r.finish(channel)
    channel.close()


def changes(served: Served, between: Callable[[], None]) -> None:
    """Change the mappings, something `between` two changes each, and check everything."""
    base, size = served.base, served.pages * PAGE
    quarter = size // 4
    r.empty(base, 8 * PAGE)
    between()
    moved = r.map_anonymous(size)
    r.remap(base + quarter, quarter, quarter, r.MAYMOVE | r.FIXED, moved)
    between()
    r.unmap(base + 2 * quarter, 4 * PAGE)
    # What is mapped there now is no business of the server's.
    assert r.map_anonymous(4 * PAGE, base + 2 * quarter) == base + 2 * quarter
    between()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.read(reader, 1)  # the parent has gone on
            check_changed(served, moved)
            status = 0
        except BaseException:  # noqa: BLE001 -- never back into pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    between()
    r.empty(moved + 4 * PAGE, 4 * PAGE)
    between()
    there = r.map_anonymous(quarter)
    r.remap(moved, quarter, quarter, r.MAYMOVE | r.FIXED | r.DONTUNMAP, there)
    between()
    os.write(writer, b"x")
    assert r.read(moved, quarter) == bytes(quarter)
    first = served.pages // 4
    for index in range(served.pages // 4):
        expected = bytes(PAGE) if 4 <= index < 8 else served.expected(first + index)
        assert r.read(there + index * PAGE) == expected, index
    served.check(first=8, end=first)
    served.check(first=2 * first + 4)
    assert r.read(base, 8 * PAGE) == bytes(8 * PAGE)
    ends_well(pid)


def check_changed(served: Served, moved: int) -> None:
    """As the child finds it: from before its parent went on."""
    first = served.pages // 4
    for index in range(first):
        assert r.read(moved + index * PAGE) == served.expected(first + index), index
    assert r.read(served.base, 8 * PAGE) == bytes(8 * PAGE)
    served.check(first=8, end=first)
    assert r.read(served.base + 2 * first * PAGE, 4 * PAGE) == bytes(4 * PAGE)
    served.check(first=2 * first + 4)
