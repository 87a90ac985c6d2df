from __future__ import annotations

import os

import pytest

from migrate.checkpoint.tracking.remainder import remainder

MIB = 1 << 20


def told(tracker, pid):
    (one,) = tracker.round()
    assert one.pid == pid
    return {pid: int((one.runs[:, 1] - one.runs[:, 0]).sum())}


@pytest.fixture
def pid(steps):
    steps.do("a = m.mmap(2048); m.fill(a, 2048, rng)")
    return steps.pid


@pytest.mark.root
def test_of_a_tracked_process_little_is_left(tracker, pid):
    assert remainder(told(tracker, pid)) < 6 * MIB  # of Python itself
    assert remainder({pid: 0}) > 8 * MIB


@pytest.mark.root
@pytest.mark.parametrize(
    "what",
    [
        "s = m.mmap(2048, kind=m.SHARED); m.fill(s, 2048, rng)",
        "s = m.mmap(2048); m.fill(s, 2048, rng); "
        "assert m.libc.mlock(ctypes.c_void_p(s), 2048 * m.PAGE) == 0",
        "s = m.mmap(2048); m.fill(s, 2048, rng); m.mprotect(s, 2048, 1)",
    ],
    ids=["shared", "locked", "not writable"],
)
def test_what_is_not_vouched_for_is_left(steps, tracker, pid, what):
    steps.do(what)
    before = remainder(told(tracker, pid))
    assert 8 * MIB < before < 15 * MIB


@pytest.mark.root
def test_what_it_grows_by_counts(steps, tracker, pid):
    known = told(tracker, pid)
    before = remainder(known)
    steps.do("b = m.mmap(1024); m.fill(b, 1024, rng)")
    assert remainder(known) >= before + 3 * MIB


def test_of_one_that_is_gone_nothing():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert remainder({child: 0}) == 0
