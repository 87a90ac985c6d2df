from __future__ import annotations

import pytest

from migrate.checkpoint.tracking import trust
from migrate.checkpoint.tracking.trust import Untrackable
from migrate.kernel.maps import parse_maps


def record(perms, inode, name):
    return parse_maps(f"7f00-7f10 {perms} 00000000 00:00 {inode} {name}\n".encode())


@pytest.mark.parametrize("name", ["", "[heap]", "[anon:glibc: malloc]"])
def test_private_anonymous_writable_memory_fits(name):
    assert [trust.fits(one) for one in record("rw-p", 0, name)] == [True]
    assert [trust.fits(one) for one in record("rwxp", 0, name)] == [True]
    assert [trust.fits(one) for one in record("r--p", 0, name)] == [False]
    assert [trust.fits(one) for one in record("rw-s", 0, name)] == [False]


@pytest.mark.parametrize(
    ("inode", "name"),
    [
        (0, "[stack]"), (0, "[vvar]"), (0, "[vdso]"), (9, "/anon_hugepage (deleted)"),
        (9, "/dev/zero"), (9, "/memfd:x (deleted)"), (9, "/SYSV00000000 (deleted)"),
        (9, "/usr/lib/libc.so.6"), (0, "[anon_shmem:x]"),
    ],
)  # fmt: skip
def test_all_else_does_not(inode, name):
    assert [trust.fits(one) for one in record("rw-p", inode, name)] == [False]


@pytest.mark.parametrize("name", ["/[aio] (deleted)", "[aio]", "anon_inode:[io_uring]"])
def test_asynchronous_io_shows_in_the_mappings(name):
    with pytest.raises(Untrackable):
        trust.check_mappings(record("rw-s", 9, name))
