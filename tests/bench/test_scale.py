"""Slopes, and one axis measured on hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.bench import scale
from migrate.bench.loads.holding import Holding
from migrate.bench.report.losses import losses
from migrate.bench.results import load
from migrate.bench.scale import AXES, FIGURES, Axis, Points, as_json, slope
from migrate.cli.bench import bench
from migrate.cli.benchscale import NAMES


def test_least_squares() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert slope([0, 1, 2], [1, 0, 2]) == pytest.approx(0.5)


def test_a_slope_of_each_turn(tmp_path: Path) -> None:
    memory = next(axis for axis in AXES if axis.name == "memory")
    seconds = {64: [0.05, 0.06], 1024: [0.05 + 0.015, 0.06 + 0.030]}
    points = Points(memory, dict.fromkeys(FIGURES, seconds))
    assert points.slope("gap").runs == pytest.approx((16.0, 32.0))  # ms/GiB
    told = json.loads(json.dumps(as_json([points], 2)))
    assert [row["what"] for row in told["rows"]] == ["memory: gap", "memory: frozen",
                                                     "memory: whole"]  # fmt: skip
    assert told["rows"][0]["points"][1]["at"] == 1024
    file = tmp_path / "scale.json"
    file.write_text(json.dumps(told))
    assert losses(load(file)) == ["memory: more of it makes the service gap longer, 24 ms/GiB"]


def test_the_command_knows_all_axes() -> None:
    assert tuple(axis.name for axis in AXES) == NAMES


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_files_on_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and connections are what they were after each move; a slope of two points is theirs."""
    few = Axis("files", "file", lambda count: Holding(files=count, connections=20), (0, 200), ())
    monkeypatch.setattr(scale, "AXES", (few,))
    done = CliRunner().invoke(bench, ["scale", "--axis", "files", "--runs", "1", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    frozen = next(row for row in rows if row["what"] == "files: frozen")
    none, all_of_them = frozen["points"]
    assert (none["at"], all_of_them["at"]) == (0, 200)
    assert min(none["seconds"]["median"], all_of_them["seconds"]["median"]) > 0.01
    more = (all_of_them["seconds"]["median"] - none["seconds"]["median"]) * 1000 / 200
    assert frozen["slope"]["median"] == pytest.approx(more)
    assert frozen["wrong"] == 0
