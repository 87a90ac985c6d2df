"""A thread that runs as soon as it has something to do, and its children do not."""

from __future__ import annotations

import os

import pytest

from migrate.kernel.scheduling import run_at_once

pytestmark = pytest.mark.root


def in_child(work: object) -> int:
    pid = os.fork()
    if pid == 0:
        assert callable(work)
        os._exit(int(work()))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def nice_value() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0) + 20


def test_it_is_preferred_and_what_it_starts_is_not() -> None:
    def work() -> int:
        run_at_once()
        return nice_value() * (in_child(nice_value) == 20)

    assert in_child(work) == 10


def test_only_its_slice_is_short() -> None:
    def work() -> int:
        run_at_once(share=False)
        return nice_value()

    assert in_child(work) == 20


def test_another_thread_is_named_by_its_number() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)
        os._exit(nice_value())
    run_at_once(pid)
    os.write(writer, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10


def test_who_is_preferred_more_stays_so() -> None:
    def work() -> int:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        run_at_once()
        return nice_value()

    assert in_child(work) == 5


def test_a_thread_that_is_gone_is_no_error() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    run_at_once(pid)
