"""The page server against real userfaultfds of a test's own processes, killed at bad moments."""

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
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.criu.lazypages import region as r

pytestmark = [pytest.mark.root]

PAGE = 4096
SLOW = 1  # bytes a second: after one step, only faults are answered
ROOT = Path(__file__).parents[3]


class Keeper:
    """A page server and who keeps it."""

    def __init__(self, directory: Path, rate: int) -> None:
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
            "socket": self.socket, "filling": str(self.filling), "options": {"rate": rate},
        }  # fmt: skip
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
        self.process.stdin.write("begin\n")

    def all_filled(self) -> None:
        assert self.process.wait(30) == 0
        assert not self.filling.exists()
        assert list(self.store.iterdir()) == []

    def close(self) -> None:
        self.process.kill()
        print(self.process.communicate()[1])  # shown when a test fails
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.server, signal.SIGKILL)


@pytest.fixture
def keep() -> Iterator[Callable[..., Keeper]]:
    """On a tmpfs: other file systems do not have files as large as an address."""
    directory = Path(tempfile.mkdtemp(prefix="mgpages", dir="/dev/shm"))
    (directory / "pages").mkdir()
    made: list[Keeper] = []

    def make(rate: int = 0) -> Keeper:
        made.append(Keeper(directory, rate))
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


def ends_well(pid: int, limit: float = 30) -> None:
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


def test_faults_before_the_end_of_the_restore_and_all_the_rest_after(keep):
    keeper = keep()

    def work() -> None:
        served, empty = Served(keeper, 3000, holes=5), Served(keeper, 10, pid=8, holes=1)
        channel = r.connect(keeper.socket)
        channel.send((-5).to_bytes(4, sys.byteorder, signed=True))  # a zombie
        for one in (served, empty):
            uffd = one.register()
            r.introduce(channel, one.pid, uffd)
            os.close(uffd)
        served.check(first=1000, end=1010)
        empty.check()
        r.finish(channel)
        keeper.begin()
        served.check()

    pid = child(work)
    ends_well(pid)
    keeper.all_filled()


def test_it_begins_without_being_told_when_the_process_runs(keep):
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 500)
        connect(keeper, served)
        served.check(end=1)
        deadline = time.monotonic() + 30
        while keeper.filling.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        served.check()

    pid = child(work)
    ends_well(pid)
    keeper.all_filled()


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


@pytest.mark.parametrize("rate", [SLOW, 0, 40 << 20])
def test_mappings_change_while_they_are_filled(keep, rate):
    keeper = keep(rate)

    def work() -> None:
        served = Served(keeper, 2000, holes=7)
        connect(keeper, served)
        changes(served, lambda: None)

    pid = child(work)
    ends_well(pid)
    keeper.all_filled()


@pytest.mark.parametrize("rate", [SLOW, 20 << 20])
def test_a_killed_server_is_followed_by_one_that_knows_all(keep, rate):
    """Killed between any two changes; nothing is lost but what the next one asks the kernel."""
    keeper = keep(rate)
    reader, writer = os.pipe()
    done_reader, done_writer = os.pipe()

    def between() -> None:
        os.write(writer, b"k")
        os.read(done_reader, 1)

    def work() -> None:
        served = Served(keeper, 2000, holes=7)
        connect(keeper, served)
        between()
        changes(served, between)
        os.write(writer, b"e")

    pid = child(work)
    kills = 0
    while select.select([reader], [], [], 30)[0] and os.read(reader, 1) == b"k":
        keeper.kill()
        kills += 1
        os.write(done_writer, b"x")
    ends_well(pid)
    assert kills == 7
    keeper.all_filled()


def test_killed_while_criu_speaks(keep):
    keeper = keep()
    reader, writer = os.pipe()
    done_reader, done_writer = os.pipe()

    def pause() -> None:
        time.sleep(0.05)
        os.write(writer, b"k")
        os.read(done_reader, 1)

    def work() -> None:
        served = Served(keeper, 100)
        channel = r.connect(keeper.socket)
        pause()
        uffd = served.register()
        channel.send(served.pid.to_bytes(4, sys.byteorder))
        pause()
        r.socket.send_fds(channel, [b"\0"], [uffd])
        os.close(uffd)
        pause()
        served.check(end=3)
        r.finish(channel)
        pause()
        served.check()

    pid = child(work)
    for _ in range(4):
        assert os.read(reader, 1) == b"k"
        keeper.kill()
        os.write(done_writer, b"x")
    ends_well(pid)
    keeper.all_filled()


def test_it_goes_on_when_who_kept_it_is_killed(keep):
    keeper = keep()
    reader, writer = os.pipe()

    def work() -> None:
        served = Served(keeper, 2000)
        connect(keeper, served)
        served.check(end=1)
        keeper.process.kill()
        os.read(reader, 1)
        served.check()

    pid = child(work)
    keeper.process.wait(10)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{keeper.server}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
        with contextlib.suppress(OSError, IndexError):
            if Path(f"/proc/{keeper.server}/stat").read_text().split()[2] == "Z":
                break
    assert not keeper.filling.exists()
    os.write(writer, b"x")
    ends_well(pid)


def test_a_process_that_ends_needs_nothing_more(keep):
    keeper = keep(SLOW)

    def work() -> None:
        served = Served(keeper, 2000)
        connect(keeper, served)
        served.check(end=1)

    ends_well(child(work))
    keeper.process.kill()  # the server waits for its rate no longer
    deadline = time.monotonic() + 30
    while keeper.filling.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_store_pages_are_given_back(keep):
    keeper = keep(30 << 20)

    def work() -> None:
        served = Served(keeper, 5000)
        connect(keeper, served)
        served.check(end=1)
        content = keeper.store / str(served.pid)
        with contextlib.suppress(FileNotFoundError):
            while True:
                kept = content.stat().st_blocks * 512
                told = json.loads(keeper.filling.read_text() or "{}")
                if told.get("filled"):  # told every 0.1 s: 3 MiB at this rate
                    assert kept <= told["total"] - told["filled"] + (2 << 20), told
                time.sleep(0.02)
        served.check()

    ends_well(child(work))
    keeper.all_filled()


@pytest.mark.parametrize("damage", ["missing", "unaligned", "short"])
def test_a_bad_store_is_refused_and_nothing_becomes_zero(keep, damage):
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 10)
        present = keeper.store / f"{served.pid}.present"
        if damage == "missing":
            present.unlink()
        elif damage == "unaligned":
            present.write_bytes((1).to_bytes(8, "little") + (PAGE).to_bytes(8, "little"))
        else:
            os.truncate(keeper.store / str(served.pid), served.base + 9 * PAGE)
        with contextlib.suppress(OSError):  # CRIU's restore fails
            connect(keeper, served)
        assert r.read(served.base) == b"never"

    pid = child(work)
    assert "refused" in keeper.word()
    time.sleep(0.1)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # it waits
    assert keeper.filling.exists()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
