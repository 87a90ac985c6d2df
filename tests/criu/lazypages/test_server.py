"""The page server against real userfaultfds of a test's own processes, killed at bad moments."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest

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

__all__ = ["keep"]

pytestmark = [pytest.mark.root]


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
    while select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b"k":
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


@pytest.mark.timeout(600)
def test_killed_at_any_line_of_what_deals_with_criu(keep):
    """Whatever CRIU has said is known to the next server, or is still to be read."""
    died = True
    line = 0
    while died:
        keeper = keep(die_at=line)  # a new one each time, in the same directory

        def work(keeper: Keeper = keeper) -> None:
            served = Served(keeper, 3)
            channel = r.connect(keeper.socket)
            uffd = served.register()
            r.introduce(channel, served.pid, uffd)
            os.close(uffd)
            channel.send((-5).to_bytes(4, sys.byteorder, signed=True))  # a zombie
            r.finish(channel)
            channel.close()
            served.check()

        ends_well(child(work))
        keeper.begin()
        died = keeper.word() != "{'ok': True, 'pid': 0}"
        keeper.all_filled()
        line += 1
    assert line > 100


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
    keeper.process.wait(60)
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
                told = json.loads(keeper.filling.read_text() or "{}")
                kept = content.stat().st_blocks * 512  # later: it has given back as much or more
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
