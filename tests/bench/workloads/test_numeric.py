"""The numeric loop's own proof."""

from __future__ import annotations

from migrate.bench.workloads.numeric import STEPS, Loop, state_after


def test_a_lost_or_a_repeated_step_shows() -> None:
    loop = Loop()
    assert loop.wrong() == 0
    for _ in range(3):
        loop.write(0)
    assert loop.steps == 3 * STEPS
    assert loop.wrong() == 0
    loop.steps += 1
    assert loop.wrong() == 1
    assert state_after(0) == 42
