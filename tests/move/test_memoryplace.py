"""Directories in memory, and what decides about them."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest

from migrate.move import memoryplace

MIB = 1 << 20


@pytest.mark.root
def test_it_is_in_memory_and_goes_whole(tmp_path):
    made = memoryplace.make(tmp_path / "move" / "criu")
    assert made.is_mount()
    assert made.stat().st_mode & 0o777 == 0o700
    (made / "core-1.img").write_bytes(b"x")
    (tmp_path / "move" / "plain").mkdir()
    memoryplace.give_up(tmp_path / "move")
    assert [path.name for path in (tmp_path / "move").iterdir()] == ["plain"]
    memoryplace.give_up(tmp_path / "move")
    memoryplace.give_up(tmp_path / "none")


def test_shared_memory_is_left_to_criu():
    before = memoryplace.left_to_criu([os.getpid()], ())
    with mmap.mmap(-1, 8 * MIB) as shared:
        shared[:] = b"x" * (8 * MIB)
        assert memoryplace.left_to_criu([os.getpid()], ()) >= before + 7 * MIB


def test_all_of_a_process_that_is_not_tracked():
    code = "held = b'x' * (8 << 20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert memoryplace.left_to_criu([child.pid], ()) < MIB
        assert memoryplace.left_to_criu([child.pid], {child.pid: "why"}) >= 8 * MIB
    assert memoryplace.left_to_criu([child.pid], ()) == 0
