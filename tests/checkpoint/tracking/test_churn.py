"""Every page compared, again and again, while programs do all that can be done to memory."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from migrate.checkpoint.tracking import wp_async
from tests.checkpoint.tracking.store import PROGRAMS, Store, check, frozen, tree

pytestmark = pytest.mark.root


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("forks", [0, 1], ids=["one", "family"])
def test_no_page_differs(seed, forks):
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "churn.py"), str(seed), str(forks)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    rng = random.Random(seed)
    try:
        assert process.stdout.readline() == "ready\n"
        tracker = wp_async.track(
            lambda: tree(process.pid), process.pid, lambda: frozen(process.pid)
        )
        store = Store()
        compared = checks = 0
        # A family has several times the pages; a busy machine leaves it fewer regions by then.
        while checks < (3 if forks else 6) or (compared <= 100 and checks < 30):
            checks += 1
            for _ in range(rng.randrange(1, 5)):
                store.take(tracker.round())
                time.sleep(rng.random() * 0.05)
            finals = check(tracker, process.pid, store)
            assert process.pid in {one.pid for one in finals}
            compared += sum(len(one.regions) for one in finals)
        assert compared > 100
        tracker.close()
        time.sleep(0.1)
        assert process.poll() is None
    finally:
        for pid in reversed(tree(process.pid)):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


RESIZES = """
import ctypes, random
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
sizes = [random.randrange(1, 129) for _ in range(12)]
places = [libc.mmap(None, n * 4096, 3, 0x22, -1, ctypes.c_long(0)) for n in sizes]
print("ready", flush=True)
while True:
    at, size = random.randrange(12), random.randrange(1, 129)
    there = libc.mremap(ctypes.c_void_p(places[at]), ctypes.c_size_t(sizes[at] * 4096),
                        ctypes.c_size_t(size * 4096), 1)
    if there == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mremap")
    places[at], sizes[at] = there, size
    ctypes.memset(there, size, size * 4096)
"""


def test_who_resizes_mappings_notices_nothing():
    """One that were divided where a registration ends could not be resized any more (EFAULT)."""
    process = subprocess.Popen(
        [sys.executable, "-c", RESIZES], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        tracker = wp_async.track(lambda: [process.pid], process.pid, lambda: frozen(process.pid))
        for number in range(300):
            tracker.round()
            assert process.poll() is None, process.stderr.read()
            if number % 50 == 49:
                assert tracker.untracked == {}
                tracker.close()
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()
