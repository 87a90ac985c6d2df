"""The conductor: order, how many at once, failures, Ctrl-C, the deadline, what was cut off."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrate.evacuate.execution import execution, moving
from migrate.evacuate.execution.course import Course, State, Task
from migrate.evacuate.execution.execution import Conduct, Execution, with_share
from migrate.evacuate.execution.hooks import Hooks
from migrate.evacuate.execution.journal import Journal
from migrate.evacuate.execution.moving import How, arguments_of
from migrate.move.errors import MoveRolledBack
from tests.evacuate.execution.fakes import Host, Move, Said, task


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "evacuation")


class Running:
    """An execution in a thread of its own."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.outcomes: list[Any] = []
        self._thread = threading.Thread(
            target=lambda: self.outcomes.extend(execution.carry_out()), daemon=True
        )
        self._thread.start()

    def join(self) -> dict[str, State]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return {outcome.name: outcome.state for outcome in self.outcomes}


def test_so_many_at_once_and_in_the_plans_order(journal: Journal) -> None:
    moves = {name: Move() for name in "abcd"}
    host = Host(**moves)
    running = Running(
        Execution([task(n) for n in "abcd"], Conduct(parallel=2, start=host), journal)
    )
    assert moves["a"].begun.wait(60)
    assert moves["b"].begun.wait(60)
    time.sleep(0.1)
    assert len(host.started) == 2
    moves["b"].free()
    assert moves["c"].begun.wait(60)
    assert not moves["d"].begun.is_set()
    for move in moves.values():
        move.free()
    assert set(running.join().values()) == {State.MOVED}
    assert [outcome.name for outcome in running.outcomes] == ["a", "b", "c", "d"]
    assert set(Journal(journal.directory).moved) == {"id-a", "id-b", "id-c", "id-d"}


def test_one_failure_does_not_harm_the_others(journal: Journal) -> None:
    refused = Move(MoveRolledBack("no room").to_wire()).free()
    host = Host(a=Move().free(), b=refused, c=Move().free())
    found = Execution(
        [task(n) for n in "abc"], Conduct(parallel=1, start=host), journal
    ).carry_out()
    assert [o.state for o in found] == [State.MOVED, State.FAILED, State.MOVED]
    assert found[1].error is not None
    assert found[1].error["what"] == "no room"
    assert found[0].freeze_seconds == 0.05


def test_stop_begins_nothing_after_a_failure(journal: Journal) -> None:
    host = Host(a=Move(MoveRolledBack("no room").to_wire()).free(), b=Move().free())
    conduct = Conduct(parallel=1, on_failure="stop", start=host)
    found = Execution([task("a"), task("b")], conduct, journal).carry_out()
    assert [o.state for o in found] == [State.FAILED, State.INTERRUPTED]
    assert len(host.started) == 1


def test_cold_is_tried_where_asked(journal: Journal) -> None:
    host = Host(a=Move(MoveRolledBack("no room").to_wire()).free())
    conduct = Conduct(parallel=1, on_failure="cold", start=host)
    Execution([task("a")], conduct, journal).carry_out()
    assert [arguments[arguments.index("--mode") + 1] for arguments in host.started] == [
        "auto", "cold",
    ]  # fmt: skip


def test_an_interruption_lets_the_frozen_one_finish(journal: Journal) -> None:
    moves = {name: Move() for name in "abc"}
    moves["a"].go.set()
    running = Running(
        Execution([task(n) for n in "abc"], Conduct(parallel=2, start=Host(**moves)), journal)
    )
    assert moves["a"].frozen.wait(60)
    assert moves["b"].begun.wait(60)
    running.execution.stop("interrupted")
    moves["a"].finish.set()
    assert running.join() == {
        "a": State.MOVED, "b": State.INTERRUPTED, "c": State.INTERRUPTED,
    }  # fmt: skip
    assert not moves["c"].begun.is_set()


def test_a_second_one_rolls_back_the_frozen_one_too(journal: Journal) -> None:
    move = Move()
    move.go.set()
    running = Running(Execution([task("a")], Conduct(start=Host(a=move)), journal))
    assert move.frozen.wait(60)
    running.execution.stop("interrupted")
    assert not move.interrupted
    running.execution.stop("interrupted", frozen=True)
    assert running.join() == {"a": State.INTERRUPTED}


def test_ctrl_c_is_heard(journal: Journal) -> None:
    move = Move()

    def press() -> None:
        """Not before somebody listens: it would end the tests."""
        if move.begun.wait(60):
            os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    before = signal.getsignal(signal.SIGINT)
    found = Execution([task("a"), task("b")], Conduct(1, start=Host(a=move)), journal).carry_out()
    pressing.join()
    assert [o.state for o in found] == [State.INTERRUPTED, State.INTERRUPTED]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_deadline(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not be done in time is not begun; what is on its way is rolled back."""
    move = Move()

    class Clock:
        """The deadline comes when the first is on its way."""

        sleep = staticmethod(time.sleep)

        @staticmethod
        def monotonic() -> float:
            return 1000.0 if move.begun.is_set() else 0.0

    monkeypatch.setattr(execution, "time", Clock)
    tasks = [task("a", seconds=0.1), task("b", seconds=100.0)]
    conduct = Conduct(2, start=Host(a=move), deadline=50.0)
    found = Execution(tasks, conduct, journal).carry_out()
    assert [o.state for o in found] == [State.INTERRUPTED, State.INTERRUPTED]
    assert move.interrupted
    assert "deadline" in str(found[1].error)


def test_a_short_one_is_begun_although_a_long_one_before_it_is_not(journal: Journal) -> None:
    tasks = [task("a", seconds=100.0), task("b", seconds=0.1)]
    conduct = Conduct(1, start=Host(b=Move().free()), deadline=time.monotonic() + 60)
    found = Execution(tasks, conduct, journal).carry_out()
    assert [o.state for o in found] == [State.INTERRUPTED, State.MOVED]


RECORD = {"name": "a", "id": "id-a", "held": "", "moved_to": ""}


@pytest.mark.parametrize(
    ("recovered", "listed", "state"),
    [
        ([{"container": "a", "outcome": "committed"}], [], State.MOVED),
        ([{"container": "a", "outcome": "aborted"}], [RECORD], State.FAILED),
        ([{"container": "a", "outcome": "committing"}], [RECORD], State.UNSETTLED),
        ([{"container": "a", "outcome": "serving"}], [RECORD], State.UNSETTLED),
        ([], [RECORD], State.FAILED),
        ([], [], State.MOVED),
        ([], [RECORD | {"held": "f" * 32}], State.UNSETTLED),
    ],
)
def test_what_was_cut_off_is_settled_at_the_origin(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, recovered: Any, listed: Any, state: State
) -> None:
    monkeypatch.setattr(moving, "SETTLE_PAUSE", 0.01)
    host = Host(a=Move(lost=True).free())
    host.answers["recover"] = lambda: Said(json.dumps(recovered, indent=2))
    host.answers["ps"] = lambda: Said(json.dumps(listed))
    (found,) = Execution([task("a")], Conduct(start=host), journal).carry_out()
    assert found.state is state
    assert (found.error is None) == (state is State.MOVED)
    assert set(Journal(journal.directory).unfinished) == (
        {"id-a"} if state is State.UNSETTLED else set()
    )


@pytest.mark.parametrize("said", ["", "garbage", "{}", "[1]", '{"error": {"code": 3}}'])
def test_who_answers_with_nonsense_settles_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(moving, "SETTLE_PAUSE", 0.01)
    host = Host(a=Move(lost=True).free())
    host.answers["recover"] = lambda: Said(said, 3, "what?")
    (found,) = Execution([task("a")], Conduct(start=host), journal).carry_out()
    assert found.state is State.UNSETTLED


def test_a_defect_is_not_hidden(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        raise KeyError("oh")

    monkeypatch.setattr(moving.Moving, "carry_out", broken)
    (found,) = Execution([task("a")], Conduct(start=Host()), journal).carry_out()
    assert found.state is State.UNSETTLED
    assert "KeyError" in str(found.error)


def test_a_container_that_its_origin_does_not_know_any_more_has_moved(journal: Journal) -> None:
    host = Host(a=Move(lost=True).free())
    host.answers["recover"] = lambda: Said(
        '{"error": {"code": 35, "what": "there is no container"}}', 35,
        "error: there is no container 'id-a'",
    )  # fmt: skip
    host.answers["ps"] = lambda: Said("[]")
    (found,) = Execution([task("a")], Conduct(start=host), journal).carry_out()
    assert found.state is State.MOVED


def test_hooks(journal: Journal, tmp_path: Path) -> None:
    told = tmp_path / "told"
    hooks = Hooks(f"cat >> {told}; echo >> {told}", f"cat >> {told}; echo >> {told}")
    Execution([task("a")], Conduct(start=Host(a=Move().free()), hooks=hooks), journal).carry_out()
    before, after = [json.loads(line) for line in told.read_text().splitlines()]
    assert (before["when"], before["task"]["name"]) == ("before", "a")
    assert (after["when"], after["outcome"]["state"]) == ("after", "moved")


def test_a_hook_that_fails(journal: Journal) -> None:
    host = Host(a=Move().free(), b=Move().free())
    hooks = Hooks('grep -q id-b || { echo "not now"; exit 1; }', "exit 3")
    found = Execution([task("a"), task("b")], Conduct(start=host, hooks=hooks), journal).carry_out()
    assert [o.state for o in found] == [State.FAILED, State.MOVED]
    assert "not now" in str(found[0].error)
    assert "exit status 3" in found[1].warning
    assert len(host.started) == 1


def test_what_is_claimed_by_another_is_not_moved(journal: Journal) -> None:
    @contextmanager
    def claim(wanted: Task) -> Iterator[None]:
        if wanted.name == "a":
            raise MoveRolledBack("somebody else moves it")
        yield

    host = Host(b=Move().free())
    conduct = Conduct(start=host, claim=claim)
    found = Execution([task("a"), task("b")], conduct, journal).carry_out()
    assert [o.state for o in found] == [State.FAILED, State.MOVED]


def test_the_options_of_each_move() -> None:
    how = with_share(How(max_downtime=0.25, stop_time=3.0), 900, 3)
    assert arguments_of(task("a", mode="cold"), how, "--dry-run") == (
        "move", "--mode", "cold", "--json", "--dry-run", "--max-downtime", "250",
        "--bandwidth", "300", "--stop-time", "3.0", "--", "id-a", "root@beta",
    )  # fmt: skip


def test_lines_that_mean_nothing_change_nothing() -> None:
    course = Course(task("a"), State.MOVING)
    for event in ({}, {"event": 1}, {"event": "phase", "name": 3}, {"event": "bytes"},
                  {"event": "bytes", "done": "x", "total": None}):  # fmt: skip
        course.hear(event)
    assert (course.state, course.phase, course.total) == (State.MOVING, "", 0)
    course.hear({"event": "phase", "name": "memory"})
    time.sleep(0.01)
    course.hear({"event": "bytes", "name": "memory", "done": 50, "total": 100})
    assert course.rate > 0
    assert course.seconds_left is not None
