from __future__ import annotations

from pathlib import Path

import pytest

from migrate.kernel import rcu


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's: what is tested is who switches it when."""
    path = tmp_path / "rcu_expedited"
    path.write_text("0")
    monkeypatch.setattr(rcu, "EXPEDITED", path)
    return path


def test_it_is_switched_on_and_off_again(switch: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def fail() -> None:
        with rcu.hurried(mark):
            assert switch.read_text() == "1"
            assert mark.exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert switch.read_text() == "0"
    assert not mark.exists()


def test_what_the_administrator_has_set_stays(switch: Path, tmp_path: Path) -> None:
    switch.write_text("1\n")
    with rcu.hurried(tmp_path / "mark"):
        assert switch.read_text().strip() == "1"
    assert switch.read_text().strip() == "1"


def test_what_a_killed_one_left_is_switched_off(switch: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    switch.write_text("1")
    with rcu.hurried(mark):
        pass
    assert switch.read_text() == "0"


def test_where_there_is_no_such_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcu, "EXPEDITED", tmp_path / "none")
    with rcu.hurried(tmp_path / "mark"):
        assert not (tmp_path / "mark").exists()


@pytest.mark.root
@pytest.mark.alone  # every move beside it would switch it, too
def test_the_kernels_own(tmp_path: Path) -> None:
    if not rcu.EXPEDITED.exists():
        pytest.skip("this kernel has no /sys/kernel/rcu_expedited")
    before = rcu.EXPEDITED.read_text()
    with rcu.hurried(tmp_path / "mark"):
        assert rcu.EXPEDITED.read_text().strip() == "1"
    assert rcu.EXPEDITED.read_text() == before
