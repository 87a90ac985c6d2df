"""bench evacuate: what it makes of its figures, and one run on hosts."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from migrate.bench import evacuate as module
from migrate.bench.errors import BenchMissed
from migrate.bench.evacuate import Outcome, sizes
from migrate.bench.series import Series
from migrate.cli.bench import bench


def outcome(**fields: object) -> Outcome:
    values: dict[str, object] = {
        "containers": 2, "mib": 64, "parallel": 2, "link": 100.0,
        "wall": Series("evacuate", (12.0, 13.0, 11.0)),
        "least": Series("bytes over link", (10.0, 10.0, 10.0)),
        "gaps": (0.1, 0.3, 0.2), "freezes": (0.05, 0.06, 0.07), "wrong": 0,
    }  # fmt: skip
    return Outcome(**(values | fields))  # type: ignore[arg-type]


def test_sizes_are_spread_about_the_average() -> None:
    assert sizes(5, 100) == [50, 75, 100, 125, 150]
    assert sizes(1, 100) == [50]
    assert sum(sizes(8, 128)) == pytest.approx(8 * 128, abs=4)


def test_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    told = outcome().as_json()
    assert told["ratio"]["median"] == pytest.approx(1.2)
    assert (told["gap"]["median"], told["gap"]["max"]) == (0.2, 0.3)
    monkeypatch.setattr(module, "run", lambda *_: outcome())
    done = CliRunner().invoke(bench, ["evacuate", "--check"], standalone_mode=False)
    assert done.exception is None
    assert "median     200 ms, worst 300" in done.output
    for worse in (outcome(wrong=1), outcome(wall=Series("evacuate", (14.0, 14.0, 14.0)))):
        monkeypatch.setattr(module, "run", lambda *_, found=worse: found)
        done = CliRunner().invoke(bench, ["evacuate", "--check"], standalone_mode=False)
        assert isinstance(done.exception, BenchMissed)


def test_no_limit_where_the_link_is_not_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    short = outcome(containers=3, wall=Series("evacuate", (30.0, 30.0, 30.0)))
    assert "must_hold" not in short.as_json()
    monkeypatch.setattr(module, "run", lambda *_: short)
    done = CliRunner().invoke(bench, ["evacuate", "--check"], standalone_mode=False)
    assert done.exception is None
    assert "3.00  (no limit" in done.output


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_a_short_run() -> None:
    words = [
        "evacuate",
        "--containers",
        "2",
        "--mib",
        "8",
        "--runs",
        "1",
        "--link",
        "500",
        "--json",
    ]
    done = CliRunner().invoke(bench, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["benchmark"] == "evacuate"
    assert told["wrong"] == 0
    assert told["least"]["median"] < told["wall"]["median"]
    assert 0 < told["freeze"]["max"] <= told["gap"]["max"] + 0.5  # a clock that is read late
