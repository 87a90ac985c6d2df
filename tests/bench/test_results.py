"""Results in files: read back, set side by side, and refused when they are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.memory import Memory
from migrate.bench.results import load, load_all, side_by_side
from migrate.bench.rows import Row, machine
from migrate.bench.series import Series
from migrate.bench.tracked import Outcome, Pair
from migrate.cli.bench import bench


def downtime(path: Path, *gaps: float) -> Path:
    row = Row(
        "pre-copy", Memory(64), Series("gap", gaps), None, Series("freeze", gaps), None,
        Series("rate", (1000.0,)), {"dump": 0.01}, 70 << 20, 64 << 20, (1, 2), 0, (),
    )  # fmt: skip
    told = {"benchmark": "downtime", "rows": [row.as_json()], "missed": ["a row"], **machine()}
    path.write_text(json.dumps(told))
    return path


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    result = load(downtime(tmp_path / "a.json", 0.1, 0.2, 0.4))
    name = "64 MiB, random, 1000 pages/s, pre-copy: gap"
    gap = result.figures[name]
    assert (gap.median, gap.least, gap.most) == (0.2, 0.1, 0.4)
    assert {n.rpartition(": ")[2] for n in result.figures} == {
        "gap", "freeze", "rate", "bytes_sent", "sent_share", "wrong",
    }  # fmt: skip
    assert result.missed == ("a row",)


def test_side_by_side_says_what_is_apart(tmp_path: Path) -> None:
    before = load(downtime(tmp_path / "a.json", 0.1, 0.2))
    near = load(downtime(tmp_path / "b.json", 0.15, 0.3))
    far = load(downtime(tmp_path / "c.json", 0.25, 0.3))
    assert not any(a.apart_from(b) for a, b in side_by_side(before, near))
    apart = [a.name.rpartition(": ")[2] for a, b in side_by_side(before, far) if a.apart_from(b)]
    assert sorted(apart) == ["freeze", "gap"]


def test_different_benchmarks_are_not_compared(tmp_path: Path) -> None:
    pair = Pair(Memory(24), "pages/s", Series("", (10.0,)), Series("", (9.0,)), 0.1, 5)
    other = tmp_path / "tracked.json"
    other.write_text(json.dumps(Outcome((pair,)).as_json()))
    tracked = load(other)
    assert tracked.figures["24 MiB, random, 1000 pages/s, pages/s: ratio"].median == 0.9
    with pytest.raises(BenchImpossible, match="nothing in common"):
        side_by_side(load(downtime(tmp_path / "a.json", 0.1)), tracked)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "no", '{"benchmark": 3}', '{"benchmark": "x", "r": ' + "[" * 100_000,
        '{"benchmark": "x", "ratio": NaN}', '{"benchmark": "x", "ratio": 1e999}',
        '{"benchmark": "x", "ratio": 1' + "0" * 400 + "}", '{"benchmark": "x", "missed": 3}',
        '{"benchmark": "x", "ratio": 1, "must_hold": []}',
        '{"benchmark": "x", "ratio": 1, "must_hold": {"ratio": 3}}',
        '{"benchmark": "x", "r": {"median": [], "min": 1, "max": 2}}',
        json.dumps({"benchmark": "x", "rows": [{"what": n, "wrong": 1} for n in range(5001)]}),
    ],
    ids=str.__len__,
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BenchImpossible, match="no result"):
        load(path)
    with pytest.raises(BenchImpossible):
        load_all(tmp_path)


def test_the_commands(tmp_path: Path) -> None:
    first, second = downtime(tmp_path / "a.json", 0.1), downtime(tmp_path / "b.json", 0.2)
    done = CliRunner().invoke(bench, ["compare", str(first), str(second)])
    assert done.exit_code == 0, done.output
    (gap,) = (line for line in done.output.splitlines() if ": gap" in line)
    assert gap.split()[-2:] == ["2.00", "apart"]
    done = CliRunner().invoke(bench, ["report", str(tmp_path)])
    assert done.output.count("downtime (") == 2
    assert done.output.count("missed: a row") == 2
    done = CliRunner().invoke(bench, ["list"])
    assert [line.partition(":")[0] for line in done.output.splitlines()] == [
        "overhead", "downtime", "peers", "scale", "network", "tracked", "evacuate", "runtime",
        "transfer",
    ]  # fmt: skip
    done = CliRunner().invoke(bench, ["list", "--json"])
    assert json.loads(done.output.splitlines()[-1])["name"] == "transfer"
