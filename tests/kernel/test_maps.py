from __future__ import annotations

import itertools
import mmap
import os
import subprocess
from pathlib import Path

import pytest

from migrate.kernel import processes
from migrate.kernel.maps import Mapping, flagged, mappings, parse_maps, read_maps, shared_maps
from tests.engine import eventually

TEXT = b"""\
55e0-55f0 r-xp 00001000 fd:01 77                         /usr/bin/a name with  blanks (deleted)
7f00-7f01 rw-p 00000000 00:00 0
7ffc-7ffd rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


def test_lines_become_records():
    assert parse_maps(TEXT) == [
        Mapping(0x55E0, 0x55F0, "r-xp", 0x1000, 77, "/usr/bin/a name with  blanks (deleted)"),
        Mapping(0x7F00, 0x7F01, "rw-p", 0, 0, ""),
        Mapping(0x7FFC, 0x7FFD, "rw-p", 0, 0, "[stack]"),
        Mapping(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", 0, 0, "[vsyscall]"),
    ]


def test_shared_ones_are_found_among_all():
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_SHARED) as shared:
        shared[0] = 1
        text = Path("/proc/self/maps").read_bytes()
        found = shared_maps(text)
        assert found == [one for one in parse_maps(text) if one.perms[3] == "s"]
        assert any("/dev/zero" in one.name for one in found)


def test_a_descriptor_stays_with_its_address_space():
    child = subprocess.Popen(
        ["sh", "-c", "echo; read x; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    assert eventually(lambda: processes.stat_fields(child.pid)[2] == "S")  # it reads
    descriptor = os.open(f"/proc/{child.pid}/maps", os.O_RDONLY)
    try:
        before = read_maps(descriptor)
        assert parse_maps(before)
        assert read_maps(descriptor) == before  # from the beginning again
        child.stdin.write(b"x\nhello\n")
        child.stdin.flush()
        child.stdout.readline()
        assert read_maps(descriptor) == b""
        child.communicate()
        with pytest.raises(ProcessLookupError):
            read_maps(descriptor)
    finally:
        os.close(descriptor)


def test_own_mappings_ascend_and_hold_the_stack():
    found = mappings(os.getpid())
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    assert any(one.name == "[stack]" for one in found)


@pytest.mark.root
def test_flags_are_found_by_their_mapping():
    area = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    before = flagged(os.getpid(), frozenset({"dd"}))
    area.madvise(mmap.MADV_DONTDUMP)
    (new,) = flagged(os.getpid(), frozenset({"dd"})) - before
    assert new in {one.start for one in mappings(os.getpid())}
    area.close()
