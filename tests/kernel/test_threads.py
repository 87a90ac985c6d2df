"""Threads without memory: in a process of its own, whose address space may grow no more."""

import subprocess
import sys
import threading

import pytest

from migrate.errors import OutOfMemory
from migrate.kernel import threads
from migrate.kernel.threads import Task


def test_what_it_returns_and_raises_comes_back() -> None:
    assert Task("adds", lambda: 1 + 1).result() == 2
    task = Task("divides", lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            task.result()
    task.join()


def test_who_waits_sees_the_end_of_a_thread_that_could_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Task, "_run", lambda task: None)
    task = Task("silent", lambda: 1)
    monkeypatch.setattr(threads, "LOOK_EVERY", 0.01)  # not for its start, which may be bound, too
    with pytest.raises(OutOfMemory, match="'silent' has ended without a word"):
        task.result()


def test_a_start_that_never_begins_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # put back afterwards
    threads.bound_starts()
    threads.bound_starts()
    seen = threading.Event()
    thread = threading.Thread(target=seen.set)
    thread.start()
    thread.join()
    assert seen.is_set()
    monkeypatch.setattr(threads, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(threading, "_start_new_thread", lambda function, arguments: 0)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=seen.set).start()


WITHOUT_MEMORY = """
import resource, sys, threading
from migrate.errors import is_lack_of_memory
from migrate.kernel import threads
threads.LOOK_EVERY = 0.05
threads.bound_starts()
pages = int(open("/proc/self/statm").read().split()[0])
held, refused = [], 0
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (24 << 20),) * 2)
ready = threading.Event()
try:
    while True:
        thread = threading.Thread(target=ready.wait, daemon=True)
        thread.start()
        held.append(thread)
except (RuntimeError, MemoryError) as error:
    refused = is_lack_of_memory(error)
ready.set()
print(int(refused))
"""


def test_a_process_without_memory_is_told_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "1\n", done.stderr
