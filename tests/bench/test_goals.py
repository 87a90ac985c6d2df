"""What `--check` holds a row against."""

from __future__ import annotations

from dataclasses import replace

from migrate.bench.goals import (
    GOALS,
    LARGE,
    SMALL,
    goal_of,
    loads_that_must_hold,
    missed,
    modes_that_must_hold,
)
from migrate.bench.loads.memory import Memory
from migrate.bench.loads.redis import Redis
from migrate.bench.rows import Row
from migrate.bench.series import Series


def row(load: Memory | Redis, gap: float, mode: str = "pre-copy") -> Row:
    return Row(
        mode, load, Series("gap", (gap,)), None, Series("freeze", (gap,)), None, None, {},
        400 << 20, 1 << 30, (), 0, (),
    )  # fmt: skip


def test_each_load_that_must_hold_is_run_once() -> None:
    loads = loads_that_must_hold()
    assert len(loads) == len(set(loads)) == len({goal.load for goal in GOALS})
    assert goal_of(row(Memory(7), 0.1)) is None
    assert modes_that_must_hold(["stop-copy", "pre-copy"]) == ["pre-copy"]


def test_a_gap_is_judged_by_its_load_and_mode() -> None:
    assert missed([row(Memory(1024), 0.099)]) == []
    assert missed([row(Memory(1024), 9.0, "stop-copy")]) == []
    assert "101 ms, 100 must hold" in missed([row(Memory(1024), 0.101)])[0]
    assert missed([row(Redis(), 0.199)]) == []
    assert len(missed([row(Redis(), 0.201)])) == 1


def test_bytes_on_the_wire() -> None:
    text = row(Memory(1024, 0, "text"), 5.0)
    assert missed([text]) == []
    assert "49 %" in missed([replace(text, bytes_sent=500 << 20)])[0]


def test_flat_is_judged_over_two_rows() -> None:
    assert missed([row(SMALL, 0.08), row(LARGE, 0.12)]) == []
    assert "1.75 times" in missed([row(SMALL, 0.08), row(LARGE, 0.14)])[0]
    assert missed([row(SMALL, 0.08), row(LARGE, 0.14, "post-copy")]) == []


def test_a_slow_fill_counts_only_where_the_link_has_a_rate() -> None:
    filling = replace(row(Memory(512), 0.1), filled=Series("filled", (20.0,)))
    assert missed([filling]) == []
    assert missed([replace(filling, link=600.0)]) == []  # 14.3 s at best
    assert "20.00 s" in missed([replace(filling, link=800.0)])[0]


def test_an_error_at_a_client_is_always_a_miss() -> None:
    assert missed([replace(row(Redis(16), 0.01), errors=("closed",))])[0].endswith(": closed")
