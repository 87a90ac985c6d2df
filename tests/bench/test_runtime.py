"""The runtimes side by side: that every command really ran, in turns, and a failure is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.bench import commandtimes, runtime
from migrate.bench.commandtimes import in_turns
from migrate.bench.errors import BenchImpossible
from migrate.bench.results import load, side_by_side
from migrate.cli.benchcomparison import HEAD, _cells
from tests.engine import eventually
from tests.hosts import leftovers, snapshot


def test_commands_take_turns_and_the_first_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {name: ["sh", "-c", f"echo {name} >> {log}; sleep {wait}"]
                for name, wait in (("a", 0.02), ("b", 0.06))}  # fmt: skip
    seconds = in_turns(commands, 2)
    assert log.read_text().split() == ["a", "b"] * 3
    assert [len(runs) for runs in seconds.values()] == [2, 2]
    assert min(seconds["a"]) >= 0.02
    assert min(seconds["b"]) >= 0.06


def test_times_are_finer_than_what_they_tell_apart() -> None:
    """Python's wait with a time limit would see the end after 63.5 or 113.5 ms only."""
    assert eventually(lambda: min(in_turns({"nap": ["sleep", "0.07"]}, 4)["nap"]) < 0.1)


def test_a_command_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commandtimes, "LIMIT", 0.1)
    with pytest.raises(RuntimeError, match="exit code -9"):
        in_turns({"long": ["sleep", "30"]}, 1)


def test_a_command_that_fails_is_no_time() -> None:
    commands = {"good": "echo other >&2", "bad": "echo a word >&2; exit 3"}
    done = subprocess.run(
        [sys.executable, "-m", "migrate.bench.commandtimes", "1"], text=True, capture_output=True,
        input=json.dumps({name: ["sh", "-c", words] for name, words in commands.items()}),
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip() == "bad: exit code 3: a word"


def test_a_peer_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PEERS", ("crun", "no-such-runtime"))
    with pytest.raises(BenchImpossible, match="no-such-runtime"):
        runtime.run(1, print)


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.alone
def test_run_state_and_exec_of_all_runtimes(tmp_path: Path) -> None:
    before = snapshot()
    outcome = runtime.run(2, print)
    assert leftovers(before, set()) == []
    run, state, executed = outcome.rows
    names = {"migrate-oci", "crun", "runc"}
    assert {side.name for side in run.sides} == {f"{n} run" for n in (*names, "migrate")}
    assert {side.name for side in state.sides} == {f"{name} state" for name in names}
    assert {side.name for side in executed.sides} == {f"{n} exec" for n in (*names, "migrate")}
    for row in outcome.rows:
        assert all(len(side.runs) == 2 and min(side.runs) > 0.001 for side in row.sides)
        assert all(len(cells) == len(HEAD) for cells in _cells(row, 1000, "ms"))
    assert run.ratio
    path = tmp_path / "runtime.json"
    path.write_text(json.dumps(outcome.as_json()))
    result = load(path)
    assert str(result.figures["run of /bin/true, s: ratio"].limit) == "at most 3"
    assert str(result.figures["state, s: migrate-oci state"].limit) == "at most 0.06"
    assert result.missed == tuple(outcome.missed)
    assert len(list(side_by_side(result, result))) == 4 + 1 + 3 + 4 + 1
    assert "crun version" in result.told["peers"]["crun"]
