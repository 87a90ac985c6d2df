from __future__ import annotations

import ctypes
import functools
import mmap
import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import MigrateError
from migrate.kernel import mounts
from migrate.kernel.memory import read_page, read_runs
from migrate.transfer.bulk import BulkSender
from migrate.transfer.frames import PAGE, asked_record
from migrate.transfer.pagelink import OPEN_FILES, PageLink
from migrate.transfer.pages import CHUNK, RUNS, cut
from tests.engine import eventually
from tests.transfer.conftest import SshServer


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 700)), max_size=60))
def test_cutting_keeps_every_page_once(gaps: list[tuple[int, int]]) -> None:
    at, runs = 0, []
    for gap, length in gaps:
        at += gap
        runs.append((at * PAGE, (at + length) * PAGE))
        at += length
    array = np.array(runs, dtype=np.uint64).reshape(-1, 2)
    seen: list[int] = []
    for part in cut(array):
        assert (part[:, 1] - part[:, 0]).sum() <= CHUNK
        assert len(part) <= RUNS
        seen += [page for start, end in part for page in range(int(start), int(end), PAGE)]
    assert seen == [page for start, end in runs for page in range(start, end, PAGE)]


class Memory:
    """Some memory of this process, with its address."""

    def __init__(self, pages: int) -> None:
        self.map = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = ctypes.c_char.from_buffer(self.map)
        self.start = ctypes.addressof(self._view)

    def page(self, number: int) -> int:
        return self.start + number * PAGE

    def runs(self, *pages: tuple[int, int]) -> np.ndarray:
        return np.array([(self.page(a), self.page(b)) for a, b in pages], dtype=np.uint64)


def fill(memory: Memory, pages: list[int]) -> None:
    for number in pages:
        content = random.randbytes(PAGE) if number % 2 else bytes([number % 255 + 1]) * PAGE
        memory.map[number * PAGE : (number + 1) * PAGE] = content


def stored(path: Path, address: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, PAGE, address).ljust(PAGE, b"\0")
    finally:
        os.close(descriptor)


@pytest.fixture
def store(far: SshServer) -> Iterator[tuple[str, Path]]:
    """A token, and a directory of its root for files as long as the address space: a tmpfs."""
    token, root = far.new_root()
    pages = root / "pages"
    pages.mkdir()
    mounts.mount("tmpfs", pages, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
    try:
        yield token, pages
    finally:
        mounts.unmount(pages, mounts.MNT_DETACH)  # a receiver may be at its end still


@pytest.mark.root
def test_rounds_of_pages_land_at_their_addresses(far: SshServer, store: tuple[str, Path]) -> None:
    memory = Memory(3000)
    fill(memory, list(range(100, 2500)))
    token, place = store
    read = functools.partial(read_runs, os.getpid())
    with BulkSender.open(far.target, token) as sender:
        runs = memory.runs((0, 700), (900, 901), (1000, 3000))
        sender.send_pages("pages/7", runs, read, fresh=True)
        sender.flush()
        first = sender.wire_bytes
        fill(memory, [5, 150, 151, 2999])
        memory.map[200 * PAGE : 203 * PAGE] = bytes(3 * PAGE)
        dirty = memory.runs((5, 6), (150, 152), (200, 203), (2999, 3000))
        sender.send_pages("pages/7", dirty, read)
        sender.flush()
        assert sender.wire_bytes - first < 8 * PAGE
    assert first < 0.6 * 2400 * PAGE  # half of the pages are of one byte
    sent = {*range(700), 900, *range(1000, 3000)}
    for number in range(3000):
        expected = (
            memory.map[number * PAGE : (number + 1) * PAGE] if number in sent else bytes(PAGE)
        )
        assert stored(place / "7", memory.page(number)) == expected, number


@pytest.mark.root
@pytest.mark.parametrize("deltas", [False, True])
def test_what_differs_is_all_that_goes_over_a_slow_link(
    far: SshServer, store: tuple[str, Path], deltas: bool
) -> None:
    memory = Memory(600)
    memory.map[:] = random.randbytes(600 * PAGE)
    token, place = store
    read = functools.partial(read_runs, os.getpid())
    every, sent = memory.runs((0, 600)), []
    with BulkSender.open(far.target, token, rate_limit=20_000_000, deltas=deltas) as sender:
        if sender._sent:  # who measures a busy machine's work may take the link for the faster
            sender._sent.link_took(1, 1e6)
        for number in range(4):
            for page in range(0, 600, 2):
                at = page * PAGE + number * 100
                memory.map[at : at + 8] = random.randbytes(8)
            memory.map[number * PAGE : (number + 1) * PAGE] = bytes(PAGE)
            sender.send_pages("pages/7", every, read, fresh=not number)
            sender.flush()
            sent.append(sender.wire_bytes - sum(sent))
    assert sent[1] > 590 * PAGE
    assert (max(sent[2:]) < 30 * PAGE) is deltas
    for number in range(600):
        expected = memory.map[number * PAGE : (number + 1) * PAGE]
        assert stored(place / "7", memory.page(number)) == expected, number


def pairs(path: Path) -> list[tuple[int, int]]:
    return sorted(struct.iter_unpack("<QQ", path.read_bytes()))


@pytest.mark.root
def test_awaited_pages_are_told_zeros_too(far: SshServer, store: tuple[str, Path]) -> None:
    memory = Memory(600)
    fill(memory, list(range(300)))
    token, place = store
    read = functools.partial(read_runs, os.getpid())
    with BulkSender.open(far.target, token) as sender:
        sender.send_awaited("pages/7", cut(memory.runs((0, 600))), read)
        sender.flush()
    told: set[int] = set()
    for start, end in pairs(place / "7.arrived"):
        told |= set(range(start, end, PAGE))
    assert told == {memory.page(number) for number in range(600)}
    for number in range(600):
        expected = memory.map[number * PAGE : (number + 1) * PAGE]
        assert stored(place / "7", memory.page(number)) == expected, number


@pytest.mark.root
def test_a_page_is_asked_for_and_sent(far: SshServer, store: tuple[str, Path]) -> None:
    memory = Memory(10)
    fill(memory, list(range(10)))
    token, place = store
    link = PageLink.open(far.target, token, fifo="pages/asked")
    try:
        assert link.asked(0.05) == []
        wait_for(place / "asked")
        fifo = os.open(place / "asked", os.O_RDWR)
        os.write(fifo, asked_record(7, memory.page(3)) + asked_record(8, memory.page(4)))
        os.close(fifo)
        assert link.asked(30) == [(7, memory.page(3)), (8, memory.page(4))]
        read = functools.partial(read_runs, os.getpid())
        for number in range(3, 3 + OPEN_FILES + 5):
            link.send(f"pages/{number}", memory.runs((3, 4)), read)
        link.send_page("pages/9", memory.page(4), memory.map[4 * PAGE : 5 * PAGE])
        link.send_page("pages/9", memory.page(5), bytes(PAGE))
        wait_for(place / f"{OPEN_FILES + 7}.arrived")
        while len(pairs(place / "9.arrived")) < 3:
            time.sleep(0.01)
        last = [(memory.page(number), memory.page(number + 1)) for number in (4, 5)]
        assert pairs(place / "9.arrived")[1:] == last
        assert stored(place / "9", memory.page(4)) == memory.map[4 * PAGE : 5 * PAGE]
        assert stored(place / "9", memory.page(5)) == bytes(PAGE)
        assert pairs(place / "7.arrived") == [(memory.page(3), memory.page(4))]
        assert stored(place / "7", memory.page(3)) == memory.map[3 * PAGE : 4 * PAGE]
    finally:
        link.close()
    assert link.closing
    with pytest.raises(MigrateError):
        link.asked(10)


def wait_for(path: Path) -> None:
    assert eventually(lambda: path.exists() and (path.is_fifo() or path.stat().st_size)), path


def test_what_is_not_mapped_any_more_is_left_out() -> None:
    memory = Memory(40)
    fill(memory, list(range(40)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    runs = memory.runs((0, 10), (12, 20), (22, 24), (25, 40))
    for first, last in ((0, 1), (5, 6), (14, 24), (39, 40)):
        assert libc.munmap(memory.page(first), (last - first) * PAGE) == 0
    buffer = bytearray(64 * PAGE)
    got = read_runs(os.getpid(), runs, buffer)
    pages = [
        (int(a) - memory.start) // PAGE for r in got for a in range(int(r[0]), int(r[1]), PAGE)
    ]
    assert pages == [*range(1, 5), *range(6, 10), 12, 13, *range(25, 39)]
    for place, number in enumerate(pages):
        expected = ctypes.string_at(memory.page(number), PAGE)
        assert buffer[place * PAGE : (place + 1) * PAGE] == expected


def test_one_page_is_read() -> None:
    memory = Memory(2)
    fill(memory, [0, 1])
    assert read_page(os.getpid(), memory.page(1)) == memory.map[PAGE : 2 * PAGE]
    with pytest.raises(OSError, match="Bad address"):
        read_page(os.getpid(), PAGE)


def test_a_process_that_has_gone() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        read_runs(pid, np.array([(PAGE, 2 * PAGE)], dtype=np.uint64), bytearray(PAGE))
