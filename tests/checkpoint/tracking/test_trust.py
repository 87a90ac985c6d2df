from __future__ import annotations

import mmap
import os

import pytest

from migrate.checkpoint.tracking import trust
from migrate.checkpoint.tracking.trust import Untrackable
from migrate.kernel.maps import mappings, parse_maps


def record(perms, inode, name):
    return parse_maps(f"7f00-7f10 {perms} 00000000 00:00 {inode} {name}\n".encode())


@pytest.mark.parametrize("name", ["", "[heap]", "[anon:glibc: malloc]"])
def test_private_anonymous_writable_memory_fits(name):
    assert [trust.fits(0, one) for one in record("rw-p", 0, name)] == [True]
    assert [trust.fits(0, one) for one in record("rwxp", 0, name)] == [True]
    assert [trust.fits(0, one) for one in record("r--p", 0, name)] == [False]
    assert [trust.fits(0, one) for one in record("rw-s", 0, name)] == [False]


@pytest.mark.parametrize(
    ("inode", "name"),
    [
        (0, "[stack]"), (0, "[vvar]"), (0, "[vdso]"), (9, "/anon_hugepage (deleted)"),
        (9, "/dev/zero"), (9, "/memfd:x (deleted)"), (9, "/SYSV00000000 (deleted)"),
        (9, "/gone"), (0, "[anon_shmem:x]"),
    ],
)  # fmt: skip
def test_all_else_does_not(inode, name):
    assert [trust.fits(os.getpid(), one) for one in record("rw-p", inode, name)] == [False]


@pytest.mark.root  # only root sees what is mapped
def test_private_mappings_of_plain_files_do(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, open("/dev/zero", "r+b") as zero:
        maps = [
            mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE),
            mmap.mmap(file.fileno(), 4096, mmap.MAP_SHARED),
            mmap.mmap(zero.fileno(), 4096, mmap.MAP_PRIVATE),
        ]
        fitting = [m for m in mappings(os.getpid()) if trust.fits(os.getpid(), m)]
    assert [m.perms for m in fitting if m.name == str(path)] == ["rw-p"]
    assert not [m for m in fitting if m.name == "/dev/zero"]
    for one in maps:
        one.close()


@pytest.mark.parametrize("name", ["/[aio] (deleted)", "[aio]", "anon_inode:[io_uring]"])
def test_asynchronous_io_shows_in_the_mappings(name):
    with pytest.raises(Untrackable):
        trust.check_mappings(record("rw-s", 9, name))
