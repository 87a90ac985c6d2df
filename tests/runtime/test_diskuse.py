from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from migrate.runtime.diskuse import disk_use


def _fill(path: Path, size: int) -> None:
    path.write_bytes(os.urandom(size))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)  # blocks are given when they are written
    os.close(descriptor)


def test_files_are_counted_once_and_links_not_followed(tmp_path):
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    empty, _ = disk_use([tree], 10)
    _fill(tree / "a" / "one", 1 << 20)
    os.link(tree / "a" / "one", tree / "a" / "b" / "same")
    _fill(tmp_path / "outside", 4 << 20)
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "up").symlink_to("..")
    os.truncate(tree / "a" / "b" / "same", 1 << 30)  # a hole
    total, whole = disk_use([tree], 10)
    assert whole
    assert 1 << 20 <= total - empty < (1 << 20) + (64 << 10)


def test_several_trees_and_what_is_not_there(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _fill(tmp_path / name / "file", 1 << 20)
    total, whole = disk_use([tmp_path / "a", tmp_path / "none", tmp_path / "b"], 10)
    assert whole
    assert 2 << 20 <= total < 3 << 20


def test_the_count_ends_when_its_time_is_over(tmp_path):
    (tmp_path / "a").mkdir()
    assert disk_use([tmp_path], 0) == (0, False)


def test_a_tree_that_is_deeper_than_a_path_may_be(tmp_path):
    name = "d" * 200
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    total, whole = disk_use([tmp_path], 10)
    assert not whole
    assert total >= 0
    subprocess.run(["rm", "-rf", tmp_path / name], check=True)


@pytest.mark.root
def test_other_file_systems_are_left_out(tmp_path):
    (tmp_path / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "mounted"], check=True)
    try:
        _fill(tmp_path / "mounted" / "file", 4 << 20)
        total, _whole = disk_use([tmp_path], 10)
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)
    assert total < 1 << 20
