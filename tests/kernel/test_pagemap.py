from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from migrate.kernel import userfaultfd as uffd
from migrate.kernel.libc import syscall, syscall_number
from migrate.kernel.pagemap import (
    PAGE_IS_PRESENT,
    PAGE_IS_WRITTEN,
    PM_SCAN_CHECK_WPASYNC,
    PM_SCAN_WP_MATCHING,
    PagemapScanner,
    merge_runs,
    page_numbers,
    page_runs,
    places,
    read_entries,
    soft_dirty,
)

PAGE = mmap.PAGESIZE
PAGES = 4096
ARMED = PM_SCAN_CHECK_WPASYNC | PM_SCAN_WP_MATCHING


@contextmanager
def memory() -> Iterator[tuple[mmap.mmap, int, int]]:
    """An area of PAGES small pages, its address, and this process's pagemap."""
    area = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    view = ctypes.c_char.from_buffer(area)
    descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
    try:
        yield area, ctypes.addressof(view), descriptor
    finally:
        os.close(descriptor)
        del view
        area.close()


@contextmanager
def protected(address: int) -> Iterator[int]:
    descriptor = syscall("userfaultfd", syscall_number("userfaultfd"), uffd.OPEN_FLAGS)
    try:
        if not uffd.handshake(descriptor, uffd.WP_ASYNC_FEATURES) & uffd.UFFD_FEATURE_WP_ASYNC:
            pytest.skip("no asynchronous write protection")
        uffd.register(descriptor, address, address + PAGES * PAGE, uffd.UFFDIO_REGISTER_MODE_WP)
        yield descriptor
    finally:
        os.close(descriptor)


def indexes(rows: np.ndarray, address: int) -> list[int]:
    return [
        (page - address) // PAGE
        for start, end in rows[:, :2].tolist()
        for page in range(start, end, PAGE)
    ]


@pytest.mark.parametrize("length", [1, 2, 7, 512, 513, 1 << 16])
@pytest.mark.parametrize("step", [2, 3, 1000])
def test_every_page_is_told_once_whatever_the_vector(length, step):
    """Kernels tell a wrong end when their buffer of 512 regions was full; see `_walk_end`."""
    with memory() as (area, address, pagemap):
        touched = list(range(0, PAGES - 700, step))
        for index in touched:
            area[index * PAGE] = 1
        rows = PagemapScanner(length).scan(
            pagemap, address, address + PAGES * PAGE, any_of=PAGE_IS_PRESENT,
            returned=PAGE_IS_PRESENT,
        )  # fmt: skip
        assert rows.dtype == np.uint64
        assert rows.shape == (len(touched), 3)
        assert indexes(rows, address) == touched
        assert set(rows[:, 2].tolist()) == {PAGE_IS_PRESENT}


@pytest.mark.parametrize("length", [3, 512, 1 << 16])
def test_what_was_written_is_told_once_and_protected_again(length):
    with memory() as (area, address, pagemap), protected(address):
        scanner = PagemapScanner(length)

        def written() -> list[int]:
            rows = scanner.scan(
                pagemap, address, address + PAGES * PAGE, flags=ARMED, mask=PAGE_IS_WRITTEN,
                any_of=PAGE_IS_PRESENT, returned=PAGE_IS_WRITTEN,
            )  # fmt: skip
            return indexes(rows, address)

        touched = list(range(0, PAGES, 2))
        for index in touched:
            area[index * PAGE] = 1
        assert written() == touched
        assert written() == []
        for index in (4, 5, 900):
            area[index * PAGE] = 2
        assert written() == [4, 5, 900]


def test_an_unregistered_range_is_an_error_where_asked():
    with memory() as (area, address, pagemap):
        area[0] = 1
        with pytest.raises(PermissionError, match=f"{address:x}"):
            PagemapScanner().scan(
                pagemap, address, address + PAGE, flags=PM_SCAN_CHECK_WPASYNC,
                any_of=PAGE_IS_PRESENT, returned=PAGE_IS_PRESENT,
            )  # fmt: skip


def test_lifting_the_protection_makes_pages_written():
    with memory() as (area, address, pagemap), protected(address) as descriptor:
        area[0] = 1

        def written() -> int:
            return len(
                PagemapScanner().scan(
                    pagemap, address, address + PAGE, flags=ARMED, mask=PAGE_IS_WRITTEN,
                    any_of=PAGE_IS_PRESENT,
                )
            )  # fmt: skip

        assert [written(), written()] == [1, 0]
        uffd.write_protect(descriptor, address, address + PAGE, on=False)
        assert [written(), written()] == [1, 0]
        uffd.unregister(descriptor, address, address + PAGES * PAGE)
        with pytest.raises(OSError, match="UFFDIO_WRITEPROTECT") as error:
            uffd.write_protect(descriptor, address, address + PAGE, on=True)
        assert error.value.errno == errno.ENOENT


def test_neighbours_are_joined():
    runs = np.array([[0, 4, 1], [4, 8, 2], [12, 16, 1], [20, 24, 1], [24, 28, 1]], dtype=np.uint64)
    assert merge_runs(runs).tolist() == [[0, 8], [12, 16], [20, 28]]
    assert merge_runs(runs[:0]).shape == (0, 2)


def test_page_numbers_and_back() -> None:
    runs = np.array(
        [[PAGE, 3 * PAGE], [7 * PAGE, 8 * PAGE], [1 << 46, (1 << 46) + PAGE]], np.uint64
    )
    assert page_numbers(runs).tolist() == [1, 2, 7, (1 << 46) // PAGE]
    assert page_runs(page_numbers(runs)).tolist() == runs.tolist()
    assert page_numbers(runs[:0]).tolist() == []
    assert page_runs(np.empty(0, np.uint64)).tolist() == []


def test_entries_tell_where_pages_are() -> None:
    with memory() as (area, address, descriptor):
        for at in (0, 1, 5, 4000):
            area[at * PAGE] = 1
        numbers = np.array([0, 1, 2, 5, 4000], np.uint64) + np.uint64(address // PAGE)
        entries = read_entries(descriptor, numbers)
        assert [bool(place) for place in places(entries)] == [True, True, False, True, True]
        assert len({int(p) for p in places(entries) if p}) == 4
        area[0] = 2
        assert (places(read_entries(descriptor, numbers)) == places(entries)).all()
        area.madvise(mmap.MADV_DONTNEED, 0, PAGE)
        assert places(read_entries(descriptor, numbers))[0] == 0
        assert not soft_dirty(np.zeros(1, np.uint64))[0]
        assert soft_dirty(np.array([1 << 55], np.uint64))[0]
