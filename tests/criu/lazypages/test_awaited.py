"""Pages that are still on another host: asked for, waited for, and never taken for what is old."""

from __future__ import annotations

import array
import os
import random
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from migrate.criu.lazypages.awaited import Arrival, Awaited
from migrate.criu.lazypages.protocol import StoreBad
from migrate.criu.lazypages.server import BEGIN_ANYWAY
from tests.criu.lazypages import region as r
from tests.criu.lazypages.served import (
    PAGE,
    SLOW,
    Keeper,
    Served,
    changes,
    child,
    connect,
    ends_well,
    keep,
)
from tests.engine import eventually

__all__ = ["keep"]
pytestmark = [pytest.mark.root]
NEVER = 1e9


class Lender:
    """The other host: it has the pages, of which the store holds something old."""

    def __init__(self, served: Served, *, pause: float = 0.0005, each: int = 3) -> None:
        """Every page is awaited but each `each`-th; `pause`: seconds between two unasked ones."""
        self.served, self.pause = served, pause
        self.store = served.keeper.store
        self.lacking = [
            i for i in range(served.pages)
            if i % each and not (served.holes and i % served.holes == served.holes - 1)
        ]  # fmt: skip
        runs = []
        with (self.store / str(served.pid)).open("r+b") as file:
            for index in self.lacking:
                start = served.base + index * PAGE
                runs += [start, start + PAGE]
                file.seek(start)
                file.write(b"O" * PAGE)
        listed = self.store / f"{served.pid}.awaited"
        listed.write_bytes(array.array("Q", _merged(runs)).tobytes())
        if not (self.store / "asked").exists():
            os.mkfifo(self.store / "asked")
        self.asked = os.open(self.store / "asked", os.O_RDWR | os.O_NONBLOCK)
        self.log = os.open(
            self.store / f"{served.pid}.arrived", os.O_WRONLY | os.O_CREAT | os.O_APPEND
        )
        self.content = os.open(self.store / str(served.pid), os.O_WRONLY)

    def bring(self, index: int) -> None:
        start = self.served.base + index * PAGE
        os.pwrite(self.content, r.page(self.served.pid, index), start)
        os.write(self.log, struct.pack("<QQ", start, start + PAGE))

    def lend(self) -> None:
        """Bring all pages in any order, those that are asked for at once."""
        rest = list(self.lacking)
        random.Random(5).shuffle(rest)
        while rest:
            if select.select([self.asked], [], [], min(self.pause, 0.2))[0]:
                raw = os.read(self.asked, 4096)
                for pid, offset in struct.iter_unpack("=QQ", raw):
                    assert pid == self.served.pid
                    self.bring((offset - self.served.base) // PAGE)
            elif self.pause < NEVER:
                self.bring(rest.pop())

    def start(self, *, lose_first: bool = False) -> None:
        """In a process of its own, which ends with its parent."""
        if os.fork() == 0:
            try:
                parent = os.getppid()
                signal.signal(signal.SIGALRM, lambda *_: os.getppid() == parent or os._exit(0))
                signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
                if lose_first:
                    assert select.select([self.asked], [], [], 60)[0]
                    os.read(self.asked, 4096)
                self.lend()
            except BaseException:  # noqa: BLE001 -- never back into pytest
                traceback.print_exc()
            os._exit(0)


def _merged(runs: list[int]) -> list[int]:
    found: list[int] = []
    for start, end in zip(runs[::2], runs[1::2], strict=True):
        if found and found[-1] == start:
            found[-1] = end
        else:
            found += [start, end]
    return found


def run(keeper: Keeper, work: Callable[[], None]) -> None:
    pid = child(work)
    ends_well(pid)
    keeper.all_filled()


def test_what_is_asked_for_comes_first_and_the_rest_behind_it(keep):
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 3000, holes=5)
        Lender(served).start()
        connect(keeper, served)
        served.check(first=1000, end=1010)
        keeper.begin()
        served.check()

    run(keeper, work)


def test_faults_alone_bring_everything_that_is_touched(keep):
    """The other side sends nothing unasked: each page is asked for, and comes."""
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 300)
        Lender(served, pause=NEVER).start()
        connect(keeper, served)
        served.check()

    run(keeper, work)


def in_place(served: Served, index: int) -> bool:
    """By /proc/self/pagemap, whose bit 63 says so: looking at it would ask for it."""
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek((served.base // PAGE + index) * 8)
        return bool(pagemap.read(8)[7] & 0x80)


def test_what_has_come_is_in_place_before_it_runs(keep):
    """The restore is at its end, nobody has begun or asked: this is what the pause is used for."""
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 100)
        lender = Lender(served, pause=NEVER)
        early, late, never = lender.lacking[5], lender.lacking[9], lender.lacking[20]
        lender.bring(early)
        begun = time.monotonic()
        connect(keeper, served)
        lender.bring(late)
        assert eventually(lambda: in_place(served, early) and in_place(served, late))
        assert not in_place(served, never)
        waits = not in_place(served, 0)
        assert waits or time.monotonic() - begun > BEGIN_ANYWAY, "it is in the store, but may wait"
        lender.start()
        served.check()

    run(keeper, work)


@pytest.mark.parametrize("rate", [SLOW, 0])
def test_mappings_change_while_pages_are_awaited(keep, rate):
    keeper = keep(rate)

    def work() -> None:
        served = Served(keeper, 2000, holes=7)
        Lender(served).start()
        connect(keeper, served)
        changes(served, lambda: time.sleep(0.05))

    run(keeper, work)


def test_servers_are_killed_while_pages_are_awaited(keep):
    keeper = keep()
    reader, writer = os.pipe()
    done_reader, done_writer = os.pipe()

    def between() -> None:
        os.write(writer, b"k")
        os.read(done_reader, 1)

    def work() -> None:
        served = Served(keeper, 2000, holes=7)
        Lender(served).start()
        connect(keeper, served)
        between()
        changes(served, between)
        os.write(writer, b"e")

    pid = child(work)
    kills = 0
    while select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b"k":
        keeper.kill()
        kills += 1
        time.sleep(0.05)
        os.write(done_writer, b"x")
    ends_well(pid)
    assert kills == 7
    keeper.all_filled()


def test_a_request_that_was_lost_is_repeated(keep):
    keeper = keep()

    def work() -> None:
        served = Served(keeper, 10)
        lender = Lender(served, pause=NEVER)
        lender.start(lose_first=True)
        connect(keeper, served)
        served.check(first=1, end=2)
        for index in lender.lacking:
            lender.bring(index)
        served.check()

    run(keeper, work)


def test_a_page_that_nobody_brings_is_waited_for(keep):
    """It never becomes zero, nor what is old."""
    keeper = keep()
    reader, writer = os.pipe()

    def work() -> None:
        served = Served(keeper, 4)
        Lender(served, each=4)
        connect(keeper, served)
        os.write(writer, b"r")
        os.write(writer, r.read(served.base + 2 * PAGE)[:1])

    pid = child(work)
    assert os.read(reader, 1) == b"r"
    assert select.select([reader], [], [], 1.5)[0] == []
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def awaited(tmp_path) -> Iterator[tuple[Awaited, int]]:
    directory = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "7").touch()
    (tmp_path / "7.awaited").write_bytes(struct.pack("=QQ", 8 * PAGE, 12 * PAGE))
    made = Awaited(directory)
    made.expect(7, 1 << 56)
    yield made, directory
    os.close(made.descriptor)
    os.close(directory)


def test_what_is_here_and_what_is_not(awaited, tmp_path):
    model, _ = awaited
    assert model.here(7, 0, 20 * PAGE) == 8 * PAGE
    assert model.here(7, 9 * PAGE, PAGE) == 0
    assert model.gap(7, 9 * PAGE) == 3 * PAGE
    assert model.here(7, 12 * PAGE, 5 * PAGE) == 5 * PAGE
    assert model.here(8, 9 * PAGE, PAGE) == PAGE
    assert model.of(7)
    assert not model.of(8)
    with (tmp_path / "7.arrived").open("wb") as log:
        log.write(struct.pack("<QQ", 9 * PAGE, 30 * PAGE) + b"half")
    assert model.news() == [Arrival(7, 9 * PAGE, 12 * PAGE)]
    assert model.remaining == PAGE
    assert model.news() == []


@pytest.mark.parametrize("pair", [(PAGE, PAGE), (5, PAGE), (2 * PAGE, PAGE)])
def test_a_log_that_can_not_be_is_refused(awaited, tmp_path, pair):
    (tmp_path / "7.arrived").write_bytes(struct.pack("<QQ", *pair))
    with pytest.raises(StoreBad, match="arrived"):
        awaited[0].news()
