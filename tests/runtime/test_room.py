"""What a limit on a whole host leaves, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.cgroups.room import memory_left

V1 = {"memory.limit_in_bytes": "1000000", "memory.usage_in_bytes": "600000",
      "memory.stat": "inactive_file 1\ntotal_inactive_file 50000\n"}  # fmt: skip
V2 = {"memory.max": "900000", "memory.current": "800000",
      "memory.stat": "anon 5\ninactive_file 20000\n"}  # fmt: skip


def tree(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def test_the_tighter_limit_counts(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1", V1), tree(tmp_path / "2", V2)
    assert memory_left(Layout({"memory": one}, None, frozenset())) == 450_000
    assert memory_left(Layout({}, two, frozenset())) == 120_000
    assert memory_left(Layout({"memory": one}, two, frozenset())) == 120_000


def test_no_limit(tmp_path: Path) -> None:
    one = tree(tmp_path / "1", V1 | {"memory.limit_in_bytes": "9223372036854771712"})
    two = tree(tmp_path / "2", V2 | {"memory.max": "max\n"})
    true_root = tree(tmp_path / "3", {})
    assert memory_left(Layout({"memory": one}, two, frozenset())) is None
    assert memory_left(Layout({}, true_root, frozenset())) is None
    assert memory_left(Layout({}, None, frozenset())) is None


def test_more_used_than_allowed(tmp_path: Path) -> None:
    one = tree(tmp_path / "1", V1 | {"memory.usage_in_bytes": "1100000"})
    assert memory_left(Layout({"memory": one}, None, frozenset())) == 0
