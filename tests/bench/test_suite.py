"""What `bench run` runs, and two commits compared in one run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.bench import commits, suite
from migrate.bench.commits import together
from migrate.bench.errors import BenchImpossible, BenchMissed
from migrate.bench.results import load, side_by_side
from migrate.bench.suite import FULL, SHORT, Run, of_file, of_names, run_all
from migrate.cli.bench import bench


@pytest.mark.parametrize("run", [*SHORT, *FULL], ids=lambda run: f"{run.name} {run.options}")
def test_every_run_is_a_command_with_its_options(run: Run) -> None:
    command = bench.commands[run.benchmark]
    with command.make_context(run.benchmark, list(run.options)) as context:
        assert "output" in context.params


def test_both_forms_have_every_benchmark() -> None:
    listed = CliRunner().invoke(bench, ["list"]).output.splitlines()
    names = {line.partition(":")[0] for line in listed}
    assert {run.benchmark for run in SHORT} == {run.benchmark for run in FULL} == names
    for form in (SHORT, FULL):
        assert len({run.name for run in form}) == len(form)


def test_names_and_files_say_what_is_run(tmp_path: Path) -> None:
    assert [run.name for run in of_names(["tracked", "overhead"], full=False)] == [
        "overhead", "tracked",
    ]  # fmt: skip
    assert len(of_names([], full=True)) == len(FULL)
    with pytest.raises(BenchImpossible, match="no benchmark 'speed'"):
        of_names(["speed"], full=False)
    file = tmp_path / "my.toml"
    file.write_text('[small]\nbenchmark = "downtime"\noptions = ["--mib", "16"]\n')
    assert of_file(file) == [Run("small", "downtime", ("--mib", "16"))]


@pytest.mark.parametrize(
    "text",
    ["", "x", "[a]", '[a]\nbenchmark = "speed"', '["../a"]\nbenchmark = "peers"',
     '[a]\nbenchmark = "peers"\noptions = "--mib"', '[a]\nbenchmark = "peers"\nmore = 1'],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(BenchImpossible, match="does not say what to run"):
        of_file(file)


def test_one_that_fails_keeps_nobody_from_running(tmp_path: Path) -> None:
    program = tmp_path / "migrate"
    program.write_text('#!/bin/sh\necho "$@" >> "$0.log"\n[ "$2" != scale ]\n')
    program.chmod(0o755)
    runs = [Run("a", "scale"), Run("b", "peers", ("--mib", "16"))]
    told: list[str] = []
    assert run_all(runs, [str(program)], tmp_path / "out", told.append) == ["a: exit code 1"]
    assert (tmp_path / "migrate.log").read_text().splitlines() == [
        f"bench scale --output {tmp_path}/out/a.json",
        f"bench peers --mib 16 --output {tmp_path}/out/b.json",
    ]
    assert told[2] == "[2/2] bench peers --mib 16"


def test_the_command_tells_of_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "run_all", lambda *_: ["a: exit code 1"])
    done = CliRunner().invoke(bench, ["run", "peers"], standalone_mode=False)
    assert isinstance(done.exception, BenchMissed)
    done = CliRunner().invoke(bench, ["run", "my.toml", "peers"])
    assert done.exit_code == 2


MAKEFILE = "setup:\n\tmkdir -p .venv/bin\n\tcp program .venv/bin/migrate\n"
PROGRAM = """#!/bin/sh
while [ "$1" != --output ]; do shift; done
echo $0 >> {log}
cat > "$2" <<END
{{"benchmark": "overhead", "wrong": 1, "missed": ["$(wc -l < {log})"],
 "move": {{"median": {figure}, "min": {figure}, "max": {figure}, "runs": [{figure}]}}}}
END
"""


def git(place: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=place, check=True,
        capture_output=True,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of two commits, whose programs tell different figures."""
    made = tmp_path / "checkout"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    (made / "Makefile").write_text(MAKEFILE)
    for figure in (1, 2):
        program = PROGRAM.format(log=tmp_path / "log", figure=figure)
        (made / "program").write_text(program)
        (made / "program").chmod(0o755)
        git(made, "add", ".")
        git(made, "commit", "-q", "-m", f"figure {figure}")
    return made


def test_two_commits_take_turns(checkout: Path, tmp_path: Path) -> None:
    files = commits.compare(
        checkout, ("main~1", "main"), ["overhead"], 3, tmp_path / "out", lambda _: None
    )
    one, other = map(load, files)
    ((a, b),) = [pair for pair in side_by_side(one, other) if "move" in pair[0].name]
    assert (a.median, b.median) == (1, 2)
    assert a.apart_from(b)
    assert one.told["move"]["runs"] == [1, 1, 1]
    assert one.told["commit"] == "main~1"
    assert one.told["wrong"] == 3
    assert one.missed == ("1", "3", "5")  # in turns
    trees = (tmp_path / "log").read_text().split()
    assert trees[:2] * 3 == trees
    assert not any(Path(tree).exists() for tree in trees)
    assert len(list((checkout / ".git/worktrees").glob("*"))) == 0


def test_a_commit_that_is_none_leaves_no_worktree(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchImpossible, match="git worktree add"):
        commits.compare(
            checkout, ("main", "nowhere"), ["overhead"], 1, tmp_path / "out", lambda _: None
        )
    assert len(list((checkout / ".git/worktrees").glob("*"))) == 0


def test_series_are_put_together() -> None:
    def told(*runs: float) -> dict[str, object]:
        return {"rows": [{"what": "x", "gap": {"median": 1, "runs": list(runs)}, "wrong": 1}]}

    both = json.loads(json.dumps(together([told(1, 5), told(3)])))
    assert both["rows"] == [
        {"what": "x", "gap": {"median": 3, "min": 1, "max": 5, "runs": [1, 5, 3]}, "wrong": 2}
    ]
    assert together([{"a": [1]}, {"a": [1, 2]}]) == {"a": [1]}
