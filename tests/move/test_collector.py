"""The garbage collector does not run in the pause, and is as it was afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest

from migrate.move import collector


def _runs() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def test_nothing_is_collected_within_and_all_is_afterwards():
    class Circle:
        pass

    def make() -> weakref.ref[Circle]:
        circle = Circle()
        circle.me = circle
        return weakref.ref(circle)

    before = gc.get_freeze_count()
    with collector.held():
        assert gc.get_freeze_count() > before
        begun = _runs()
        for _ in range(100_000):
            last = make()
        assert _runs() == begun
        assert last() is not None
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert last() is None


def test_only_what_is_new_is_looked_at():
    before = gc.get_freeze_count()
    with collector.held():
        collector.look_at_new()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_an_error_gives_it_back():
    with pytest.raises(ValueError, match="within"), collector.held():
        raise ValueError("within")
    assert gc.isenabled()
