"""migrate evacuate on the command line: what is refused at once, and how it looks."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.cli.evacuateview import EvacuateView, JsonView, show_plan
from migrate.cli.main import cli
from migrate.errors import MigrateError, UsageError
from migrate.evacuate.errors import PlanBad
from migrate.evacuate.execution.course import Course, Outcome, State
from migrate.evacuate.execution.report import Report
from migrate.evacuate.model import Plan, Stays, Step
from tests.evacuate.execution.fakes import task


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MIGRATE_RUN", str(tmp_path / "run"))
    monkeypatch.delenv("MIGRATE_INVENTORY", raising=False)


@pytest.mark.parametrize(
    "words",
    [
        ["--return", "--to", "root@10.0.0.2"],
        ["--return", "--selector", "a=b"],
        ["--return", "--save-plan", "plan.toml"],
        ["--selector", "a in (b)"],
    ],
)
def test_what_does_not_go_together(words: list[str]) -> None:
    done = CliRunner().invoke(cli, ["evacuate", "root@10.0.0.1", *words], standalone_mode=False)
    assert isinstance(done.exception, UsageError)


def test_a_report_of_an_unknown_kind(tmp_path: Path) -> None:
    for name in ("report.txt", "nowhere/report.md"):
        done = CliRunner().invoke(cli, ["evacuate", ".", "--report", str(tmp_path / name)])
        assert done.exit_code == 2


@pytest.mark.parametrize("data", [b"\xff\xfe", b"nonsense", b"version = 9"])
def test_a_file_that_is_no_plan(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(data)
    done = CliRunner().invoke(
        cli, ["evacuate", ".", "--to", "root@10.0.0.1", "--plan", str(path)], standalone_mode=False
    )
    assert isinstance(done.exception, PlanBad)


def courses() -> list[Course]:
    frozen = Course(task("frozen"), State.FROZEN, phase="dump", frozen_at=time.monotonic())
    moving = Course(task("moving"), State.MOVING, phase="memory", done=50, total=100, rate=25.0)
    moved = Course(task("moved"), State.MOVED)
    moved.outcome = Outcome("i", "moved", "alpha", "beta", State.MOVED, freeze_seconds=0.0425)
    failed = Course(task("failed"), State.FAILED)
    failed.outcome = Outcome("i", "failed", "alpha", "beta", State.FAILED, error={"what": "no!"})
    return [frozen, moving, moved, failed, *(Course(task(f"w{n}")) for n in range(30))]


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with EvacuateView() as view:
        for course in courses()[:4]:
            view.course(course)
            view.course(course)  # nothing new
        view.moment(courses())
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "frozen -> beta: dumping",
        "moving -> beta: sending memory while it runs 50 B of 100 B",
        "moved -> beta: moved, frozen for 42 ms",
        "failed -> beta: failed: no!",
    ]


def test_json_tells_a_state_once(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonView() as view:
        for course in courses()[:2] * 2:
            view.course(course)
        view.note("so")
        view.report(Report("alpha", 1.0, 2.0))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t.get("state") for t in told] == ["frozen", "moving", None, None]
    assert told[2] == {"note": "so"}
    assert told[3]["report"]["complete"]


def test_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(
        "alpha", "id", {"beta": "root@beta"},
        (Step("1", "web", "beta", "cold", 5_000_000, 1.5, 0.3, "cold: it is stopped"),),
        (Stays("2", "db", {"": "kept"}), Stays("3", "big", {"beta": "too little memory"})),
        seconds=1.5, bytes=5_000_000, warnings=("these can only go cold: web",),
    )  # fmt: skip
    show_plan(plan, err=False)
    text = capsys.readouterr().out
    for words in ("cold: it is stopped", "db stays:", "beta: too little memory", "warning:",
                  "1 containers to move from alpha, 5.0 MB, in about 2 s; 2 stay"):  # fmt: skip
        assert words in text


def test_the_live_table_on_a_terminal() -> None:
    """In a process of its own, whose standard error is a terminal."""
    code = (
        "from tests.cli.test_evacuate import courses\n"
        "from migrate.cli.evacuateview import EvacuateView\n"
        "with EvacuateView() as view:\n view.moment(courses())\n"
    )
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, cwd=Path(__file__).parents[2],
        env={**os.environ, "COLUMNS": "140", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:
        pass  # EIO: the other end is closed
    os.close(ours)
    assert child.wait(60) == 0
    text = seen.decode()
    for words in ("1 of 34 moved", "50 B of 100 B", "25 B/s", "2 s", "42 ms", "and 14 more"):
        assert words in text, text


def test_an_error_of_the_hosts_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["evacuate", ".", "--to", "root@127.0.0.1:1"], standalone_mode=False
    )
    assert isinstance(done.exception, MigrateError)
    assert "asking 2 hosts" in done.output
