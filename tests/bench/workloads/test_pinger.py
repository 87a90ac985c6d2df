"""What the client remembers of its pings: those around the longest silence, and no more."""

from __future__ import annotations

import pytest

from migrate.bench.workloads import pinger
from migrate.bench.workloads.pinger import AROUND, Watch


def watched(monkeypatch: pytest.MonkeyPatch, *answers: float, took: float = 0.0005) -> Watch:
    monkeypatch.setattr(pinger.time, "monotonic", lambda: 0.0)
    watch = Watch()
    for now in answers:
        watch.answered(now - took, now)
    return watch


def test_the_pings_around_the_longest_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [n / 1000 for n in range(1, 3001)]
    after = [3.5 + n / 1000 for n in range(3000)]
    watch = watched(monkeypatch, *before, *after)
    assert watch.gap == pytest.approx(0.5)
    samples = watch.latency()
    assert len(samples) == 2 * AROUND + 1
    assert samples[0][0] == pytest.approx(-0.5 - (AROUND - 1) / 1000 - 0.0005)
    assert samples[AROUND] == (-0.0005, 0.0005)
    assert samples[-1][0] == pytest.approx(AROUND / 1000 - 0.0005)


def test_a_longer_silence_later_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch, 0.001, 0.101, 0.102, 0.302, 0.303)
    assert watch.gap == pytest.approx(0.2)
    assert [sent for sent, _ in watch.latency()] == [
        pytest.approx(t - 0.3025) for t in (0.001, 0.101, 0.102, 0.302, 0.303)
    ]


def test_what_else_was_done_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch, 0.001)
    monkeypatch.setattr(pinger.time, "monotonic", lambda: 9.0)
    watch.resume()
    watch.answered(9.001, 9.002)
    assert watch.gap == pytest.approx(0.002)
