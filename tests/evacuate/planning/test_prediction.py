"""The model of time: one link, shared by the moves of the moment."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.evacuate.planning.prediction import (
    AROUND,
    PAUSE,
    START,
    STOP,
    Load,
    Span,
    downtime_of,
    load_of,
    schedule,
)
from tests.evacuate.planning.examples import MIB, guest

RATE = 100.0


def ends(loads: list[Load], parallel: int) -> list[float]:
    return [pytest.approx(span.end) for span in schedule(loads, parallel, RATE)]


def test_one_after_the_other() -> None:
    loads = [Load(1, 100), Load(1, 200), Load(1, 0)]
    assert [span.end for span in schedule(loads, 1, RATE)] == ends(loads, 1) == [2, 5, 6]


def test_the_link_is_shared() -> None:
    """Two at once: both send half as fast, until one of them is done."""
    assert ends([Load(0, 100), Load(0, 200)], 2) == [2, 3]
    assert ends([Load(0, 100), Load(2, 100)], 2) == [1, 3], "who waits leaves the link to others"
    assert ends([Load(0, 100)] * 4, 2) == [2, 2, 4, 4]


def test_a_slow_target_leaves_the_link_to_others() -> None:
    assert ends([Load(0, 100, most=10), Load(0, 180)], 2) == [10, 2]


def test_nothing_to_send() -> None:
    assert schedule([], 2, RATE) == []
    assert ends([Load(0, 0), Load(0, 0), Load(0, 100)], 1) == [0, 0, 1]


Loads = st.lists(
    st.builds(
        Load,
        st.floats(0, 10), st.integers(0, 1 << 45),
        st.one_of(st.just(math.inf), st.floats(1e-3, 1e12)),
    ),
    max_size=12,
)  # fmt: skip


@given(Loads, st.integers(1, 5), st.floats(1e-2, 1e12))
def test_no_more_than_the_link_and_no_more_at_once(
    loads: list[Load], parallel: int, rate: float
) -> None:  # fmt: skip
    spans = schedule(loads, parallel, rate)
    assert len(spans) == len(loads)
    whole = max((span.end for span in spans), default=0.0)
    assert whole >= sum(load.bytes for load in loads) / rate * (1 - 1e-6)
    alone = [load.seconds + load.bytes / min(rate, load.most) for load in loads]
    assert whole <= sum(alone) * (1 + 1e-6) + 1e-6
    rounding = 1e-6 + whole * 1e-9
    for span, load, least in zip(spans, loads, alone, strict=True):
        assert span.end - span.start >= least * (1 - 1e-6) - rounding
        at_once = sum(other.start <= span.start < other.end for other in spans)
        assert at_once <= parallel, load
    assert [span.start for span in spans] == sorted(span.start for span in spans)


def test_bytes() -> None:
    one = guest("a", memory=100 * MIB, disk=7 * MIB)
    assert load_of(one, cold=False) == Load(AROUND, 117 * MIB)
    assert load_of(one, cold=True) == Load(AROUND + STOP + START, 7 * MIB)
    assert load_of(guest("a", disk=7, status="stopped"), cold=True) == Load(AROUND, 7)


def test_downtime() -> None:
    span = Span(0, 20, sending=10)

    def of(cold: bool, limit: float | None, **fields: object) -> float:
        one = guest("a", **fields)
        load = load_of(one, cold=cold)
        return downtime_of(one, load, span, cold=cold, max_downtime=limit)

    assert of(False, None) == PAUSE
    assert of(False, 0.3) == PAUSE
    assert of(False, 0.05) == 0.05
    assert of(True, 0.05) == STOP + 10 + START
    assert of(True, None, status="stopped") == 0
    # Small ones go in stop-copy: the pause has their memory's share of the time on the link.
    assert of(False, 0.05, memory=2 * MIB, disk=2.2 * MIB) == pytest.approx(PAUSE + 10 * 2 / 4.4)
    assert of(False, None, memory=0) == PAUSE
