"""Interruption: at whatever instruction a signal comes, the work is undone, or done."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dis import opname
from types import FrameType
from typing import Any

import pytest

from migrate.kernel import signals
from migrate.kernel.signals import Signals
from tests.engine import eventually

HERE = {__file__, signals.__file__}
# The interpreter looks for signals behind calls and backward jumps; the first instruction behind a
# call stands for it here, but these two, which it may put between a `try` and its `finally`.
NOT_HERE = {"NOP", "JUMP_FORWARD"}


class Work:
    """The shape that every use has: work, undone on any failure, then what can't be undone."""

    def __init__(self, fail: bool = False) -> None:
        self.signals = Signals()
        self.fail = fail
        self.steps: list[str] = []

    def carry_out(self) -> None:
        with self.signals:
            try:
                try:
                    self.prepare()
                    if self.fail:
                        raise OSError
                finally:
                    self.signals.deafen()
            except BaseException:
                self.steps.append("undo")
                self.steps.append("undone")
                raise
            self.steps.append("commit")
            self.steps.append("committed")

    def prepare(self) -> None:
        self.steps.append("begun")
        with self.signals.held():
            self.steps.append("held")
            self.steps.append("let go")
        self.steps.append("prepared")


def interrupted_at(number: int, call: Callable[[], None], repeat: bool) -> bool:
    """Call it, with SIGINT at its `number`th instruction (and each later one); whether it came."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = frame.f_code.co_filename in HERE
        if event == "opcode" and opname[frame.f_code.co_code[frame.f_lasti]] not in NOT_HERE:
            count += 1
            if count == number or (repeat and count > number):
                os.kill(os.getpid(), signal.SIGINT)
        return trace

    before = signal.signal(signal.SIGINT, lambda *_: None)  # outside `with`: not ours to hear
    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt, OSError):
            call()
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGINT, before)
    return count >= number


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("fail", [False, True])
def test_a_signal_at_every_instruction(fail: bool, repeat: bool) -> None:
    number, outcomes = 1, set()
    while True:
        work = Work(fail)
        came = interrupted_at(number, work.carry_out, repeat)
        steps = tuple(work.steps)
        outcomes.add(steps)
        assert steps == () or steps[-2:] in {("undo", "undone"), ("commit", "committed")}, number
        assert ("held" in steps) == ("let go" in steps), number
        assert not (fail and "commit" in steps)
        if not came:
            break
        number += 1
    assert len(outcomes) > 3


def test_sigterm_and_sighup_interrupt_once() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        with Signals():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)


def test_the_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in Signals.NUMBERS]
    with Signals():
        assert [signal.getsignal(number) for number in Signals.NUMBERS] != before
    assert [signal.getsignal(number) for number in Signals.NUMBERS] == before


def test_no_lock_stays_taken():
    """Whoever was interrupted at a queue must not find it locked when he cleans up."""
    for _ in range(300):
        condition = threading.Condition(threading.Lock())
        delay = random.random() / 2000

        def shoot(delay: float = delay) -> None:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=shoot)
        with pytest.raises(KeyboardInterrupt):
            take_again_and_again(condition, thread)
        thread.join()
        assert condition.acquire(timeout=20)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def take_again_and_again(condition: threading.Condition, shooter: threading.Thread) -> None:
    with Signals():
        shooter.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with condition:
                pass


def test_no_wake_up_is_lost():
    """Wherever `put` was interrupted, the threads behind the queue can be told to end."""
    number = 1
    while True:
        work: queue.Queue[int | None] = queue.Queue()
        readers = [threading.Thread(target=take_all, args=(work,), daemon=True) for _ in range(2)]
        for reader in readers:
            reader.start()
        while len(work.not_empty._waiters) < len(readers):  # type: ignore[attr-defined]
            time.sleep(0.001)
        came = interrupted_in_put(work, number)
        for _ in readers:
            work.put(None)
        for reader in readers:
            reader.join(timeout=20)
            assert not reader.is_alive(), number
        assert work.unfinished_tasks == 0
        if not came:
            break
        number += 1
    assert number > 50


def test_a_thread_that_runs_is_not_taken_for_ended():
    """`join` is not cut short; the signal comes behind it."""
    ended = threading.Event()

    def run() -> None:
        assert eventually(is_joined)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        ended.set()

    thread = threading.Thread(target=run)
    with Signals():
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            join_and_sleep(thread)
    assert ended.is_set()
    assert not thread.is_alive()


def is_joined() -> bool:
    """Whether the main thread waits for another."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame and frame.f_code is not threading.Thread.join.__code__:
        frame = frame.f_back
    return frame is not None


def join_and_sleep(thread: threading.Thread) -> None:
    thread.join()
    time.sleep(20)


def take_all(work: queue.Queue[int | None]) -> None:
    while work.get() is not None:
        work.task_done()
        time.sleep(0.001)  # both wait again before the next comes
    work.task_done()


def interrupted_in_put(work: queue.Queue[int | None], number: int) -> bool:
    """Put, with a signal at the `number`th instruction of the library; whether it came."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = frame.f_code.co_filename in {queue.__file__, threading.__file__}
        if event == "opcode":
            count += 1
            if count == number:
                interrupt._on_signal(signal.SIGINT, frame)
        return trace

    with Signals() as interrupt, contextlib.suppress(KeyboardInterrupt):
        sys.settrace(trace)
        try:
            work.put(1)
        finally:
            sys.settrace(None)
        time.sleep(0.02)
    return count >= number
