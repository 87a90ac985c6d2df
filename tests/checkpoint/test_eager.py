"""Eager pages written over a process's memory; that moves restore them, `--verify` shows."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.checkpoint.eager import EagerPages
from migrate.criu.errors import ImageBad

PAGE = mmap.PAGESIZE
PAGES = 600  # more than are copied at a time


@pytest.fixture
def store() -> Iterator[Path]:
    """On a tmpfs: an address is too large an offset for other files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """One that maps a file of f's privately, and sleeps: its pid, and where."""
    file = tmp_path / "mapped"
    file.write_bytes(b"f" * PAGE * PAGES)
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    yield child, address
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert file.read_bytes() == b"f" * PAGE * PAGES


def keep(store: Path, *runs: tuple[int, int], letter: bytes = b"e") -> None:
    """Those of process 7: runs in bytes, and what is in them."""
    bounds = [bound for run in runs for bound in run]
    (store / "7.eager").write_bytes(b"".join(bound.to_bytes(8, "little") for bound in bounds))
    with (store / "7").open("wb") as file:
        for start, end in runs:
            file.seek(start)
            file.write(letter * max(end - start, 0))


def write(store: Path, processes: dict[int, int]) -> None:
    with contextlib.closing(EagerPages(store)) as pages:
        pages.write(processes)


def pages_of(pid: int, address: int) -> str:
    """The first letter of each page."""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        memory.seek(address)
        return memory.read(PAGE * PAGES)[::PAGE].decode()


@pytest.mark.root
def test_pages_come_to_their_places_and_no_others(store, process):
    pid, address = process
    keep(
        store, (address + PAGE, address + 2 * PAGE), (address + 5 * PAGE, address + 590 * PAGE)
    )  # fmt: skip
    write(store, {7: pid, 8: os.getpid()})
    assert pages_of(pid, address) == "fefff" + "e" * 585 + "f" * 10


@pytest.mark.root
def test_a_store_that_is_emptied_meanwhile_is_read_still(store, process):
    pid, address = process
    keep(store, (address, address + PAGE))
    with contextlib.closing(EagerPages(store)) as pages:
        for path in store.iterdir():
            path.unlink()
        assert pages.pids() == {7}
        pages.write({7: pid})
    assert pages_of(pid, address)[:2] == "ef"


def test_without_any_there_is_nothing_to_do(store):
    keep(store)
    write(store, {})


@pytest.mark.root
def test_memory_that_is_not_there_is_told(store, process):
    pid, _ = process
    keep(store, (PAGE, 2 * PAGE))
    with pytest.raises(ImageBad, match="process 7 can't be restored"):
        write(store, {7: pid})


def test_a_process_that_is_not_there_is_told(store):
    keep(store, (PAGE, 2 * PAGE))
    with pytest.raises(ImageBad, match="process 7, which was not restored"):
        write(store, {8: os.getpid()})


@pytest.mark.parametrize("run", [(2 * PAGE, PAGE), (PAGE, PAGE + 1), (PAGE, PAGE)])
def test_absurd_lists_are_refused(store, run):
    keep(store, run)
    with pytest.raises(ImageBad, match="damaged"):
        EagerPages(store)


def test_lists_without_contents_are_refused(store):
    keep(store, (PAGE, 2 * PAGE))
    os.truncate(store / "7", PAGE)
    with pytest.raises(ImageBad, match="damaged"):
        EagerPages(store)


def test_a_list_of_no_process_is_refused(store):
    keep(store, (PAGE, 2 * PAGE))
    (store / "7.eager").rename(store / "..7.eager")
    with pytest.raises(ImageBad, match="no process"):
        EagerPages(store)


def test_a_link_is_not_followed(store):
    keep(store, (PAGE, 2 * PAGE))
    (store / "7").rename(store / "elsewhere")
    (store / "7").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        EagerPages(store)
