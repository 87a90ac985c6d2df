"""The stream waits for who waits, and not for ever."""

from __future__ import annotations

import time

import pytest

from migrate.move import precedence
from migrate.move.precedence import Precedence


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Now, which sleeping moves on."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def sleep(seconds: float) -> None:
        now[0] += seconds + 1e-9

    monkeypatch.setattr(time, "sleep", sleep)
    return now


def waited(clock: list[float], one: Precedence) -> float:
    begun = clock[0]
    one.give_way()
    return clock[0] - begun


def test_nobody_asks_and_nobody_waits(clock: list[float]) -> None:
    assert waited(clock, Precedence()) == 0


def test_it_waits_until_nobody_has_asked_for_a_while(clock: list[float]) -> None:
    one = Precedence()
    one.asked()
    assert waited(clock, one) == pytest.approx(precedence.QUIET)
    assert waited(clock, one) == 0


def test_who_asks_all_the_time_holds_it_up_for_a_share_of_the_time(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Precedence()
    plain = time.sleep

    def sleep(seconds: float) -> None:
        plain(seconds)
        one.asked()

    monkeypatch.setattr(time, "sleep", sleep)
    one.asked()
    assert waited(clock, one) == pytest.approx(precedence.AT_FIRST, rel=0.01)
    begun, held = clock[0], 0.0
    for _ in range(1000):
        clock[0] += 0.01  # a part is sent
        one.asked()
        held += waited(clock, one)
    assert held / (clock[0] - begun) == pytest.approx(precedence.SHARE, rel=0.1)
