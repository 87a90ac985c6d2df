"""The smaps that CRIU is told, against the kernel's own, whatever is done to mappings."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.checkpoint import smaps
from migrate.checkpoint.smaps import KnownFlags

pytestmark = pytest.mark.root

PAGE = mmap.PAGESIZE
CHANGES = (
    mmap.MADV_DONTFORK, mmap.MADV_DOFORK, 16, 17, mmap.MADV_HUGEPAGE, mmap.MADV_NOHUGEPAGE,
    mmap.MADV_SEQUENTIAL, mmap.MADV_RANDOM, mmap.MADV_NORMAL, mmap.MADV_MERGEABLE,
    mmap.MADV_UNMERGEABLE, 18, 19,
)  # fmt: skip
"""16 to 19: MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK."""
RESTLESS = f"""
import mmap, random, time
memory = mmap.mmap(-1, 64 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print("ready", flush=True)
while True:
    memory.madvise(random.choice({CHANGES!r}), 4096 * random.randrange(60), 4096 * 3)
    if not random.randrange(20):
        time.sleep(0.002)
"""


@pytest.fixture
def known() -> Iterator[KnownFlags]:
    made = KnownFlags()
    yield made
    made.close()


def as_criu_reads_it(pid: int) -> list[bytes]:
    """The lines of smaps that criu/proc_parse.c looks at."""
    lines = Path(f"/proc/{pid}/smaps").read_bytes().splitlines()
    return [
        line for line in lines
        if line.startswith(b"VmFlags:") or not line.split(None, 1)[0].endswith(b":")
    ]  # fmt: skip


def both(known: KnownFlags, pid: int) -> tuple[list[bytes], list[bytes]]:
    """Our text and the kernel's of this process, whose own work may make new mappings between."""
    for _attempt in range(50):
        before = Path(f"/proc/{pid}/maps").read_bytes()
        told, expected = known.smaps(pid), as_criu_reads_it(pid)
        lines = (told or b"").splitlines()
        # Reading, too, maps memory, which may be gone again by the second look.
        if Path(f"/proc/{pid}/maps").read_bytes() == before and lines == expected:
            break
    return lines, expected


def test_the_text_is_the_kernels(known: KnownFlags) -> None:
    memory = mmap.mmap(-1, 64 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for number, change in enumerate(CHANGES):
        memory.madvise(change, 4 * number * PAGE, 2 * PAGE)
    assert known.smaps(os.getpid()) is None
    known.learn(os.getpid())
    told, expected = both(known, os.getpid())
    assert told == expected
    # New places of known flags are told, too, and unknown flags are not.
    memory.madvise(mmap.MADV_DONTFORK, 60 * PAGE, PAGE)
    told, expected = both(known, os.getpid())
    assert told == expected
    memory.madvise(mmap.MADV_SEQUENTIAL, 60 * PAGE, PAGE)
    assert known.smaps(os.getpid()) is None


def test_what_is_learned_while_flags_change_is_right(known: KnownFlags) -> None:
    with subprocess.Popen([sys.executable, "-c", RESTLESS], stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        told = 0
        for _turn in range(400):
            if told == 20:
                break
            known.learn(other.pid)
            os.kill(other.pid, 19)
            os.waitpid(other.pid, os.WUNTRACED)
            text = known.smaps(other.pid)
            if text:
                told += 1
                assert text.splitlines() == as_criu_reads_it(other.pid)
            os.kill(other.pid, 18)
        other.kill()
    assert told, "it was never seen with flags that are known"


def test_other_bits_than_ours_teach_nothing(
    known: KnownFlags, monkeypatch: pytest.MonkeyPatch
) -> None:
    renumbered = {**smaps._BITS, b"mw": 0x40, b"me": 0x20}
    monkeypatch.setattr(smaps, "_BITS", renumbered)
    known.learn(os.getpid())
    assert known.smaps(os.getpid()) is None


def test_a_process_that_is_gone(known: KnownFlags) -> None:
    known.learn(os.getpid())
    with subprocess.Popen(["true"]) as other:
        other.wait()
    known.learn(other.pid)
    assert known.smaps(other.pid) is None
