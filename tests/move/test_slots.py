from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.move import slots


def test_the_last_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    slots.create(path, b"0")
    size = path.stat().st_blocks
    for number in range(1, 20):
        slots.rewrite(path, b"%d" % number)
        assert slots.read(path) == b"%d" % number
    assert path.stat().st_blocks == size


@given(st.integers(0, slots.SLOT * slots.SLOTS), st.binary(min_size=1, max_size=60))
def test_damage_leaves_a_whole_version_or_none(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("slots") / "file"
    known = [b"first", b"second version", b"third"]
    slots.create(path, known[0])
    for data in known[1:]:
        slots.rewrite(path, data)
    raw = bytearray(path.read_bytes())
    raw[at : at + len(noise)] = noise
    path.write_bytes(raw)
    assert slots.read(path) in known[1:]


def test_a_write_that_was_cut_off_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    slots.create(path, b"one")
    slots.rewrite(path, b"two")
    before = path.read_bytes()
    slots.rewrite(path, b"three" * 100)
    after = path.read_bytes()
    for cut in range(2 * slots.SLOT, 2 * slots.SLOT + 519):
        path.write_bytes(after[:cut] + before[cut:])
        assert slots.read(path) == b"two"
    path.write_bytes(after)
    assert slots.read(path) == b"three" * 100


def test_what_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        slots.read(path)
    for raw in (b"", b"{}", bytes(slots.SLOT * slots.SLOTS)):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="no whole version"):
            slots.read(path)
    with pytest.raises(ValueError, match="do not fit"):
        slots.create(path, bytes(slots.SLOT))
