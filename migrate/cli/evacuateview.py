"""How an evacuation looks: the plan as a table, the moves as they go on, the report."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.moveview import WORDS
from migrate.cli.output import print_table
from migrate.cli.sizes import human_size

if TYPE_CHECKING:
    from migrate.evacuate.execution.course import Course, Task
    from migrate.evacuate.execution.report import Report
    from migrate.evacuate.model import Plan

LINE_EVERY = 5.0  # seconds between plain lines of one container in one phase
_SHOWN = 20  # containers in the live table: those on their way, and what fits of the others
_COLOURS = {"moved": "green", "failed": "red", "unsettled": "red", "frozen": "cyan"}


class EvacuateView:
    """A live table on a terminal, lines elsewhere; both on stderr. Plan and report on stdout."""

    def __init__(self) -> None:
        self._live: Any = None
        self._told: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> EvacuateView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._end_live()

    def note(self, words: str) -> None:
        """Something to know."""
        click.echo(words, err=True)

    def plan(self, plan: Plan) -> None:
        """The plan, to be read before it is carried out."""
        show_plan(plan, err=False)

    def tasks(self, tasks: Sequence[Task]) -> None:
        """What a return would bring back."""
        rows = [(t.name, t.origin, t.target, t.mode, human_size(t.bytes)) for t in tasks]
        print_table(("NAME", "FROM", "TO", "MODE", "MEMORY"), rows)

    def intent(self, plan: Plan) -> None:
        """The plan that is carried out now."""
        show_plan(plan, err=True)

    def course(self, course: Course) -> None:
        """One container has come further; called from several threads."""
        if not sys.stderr.isatty():
            with self._lock:
                self._line(course)

    def _line(self, course: Course) -> None:
        outcome = course.outcome
        words = _state_words(course)
        before, at = self._told.get(course.task.container, ("", 0.0))
        key = words if course.total == 0 or outcome else course.phase
        if key == before and time.monotonic() - at < LINE_EVERY:
            return
        self._told[course.task.container] = (key, time.monotonic())
        title = f"{course.task.name} -> {course.task.target}"
        if course.total and not outcome:
            words += f" {human_size(course.done)} of {human_size(course.total)}"
        click.echo(f"{title}: {words}", err=True)

    def moment(self, courses: Sequence[Course]) -> None:
        """Some time has passed."""
        if not sys.stderr.isatty():
            return
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(_table(courses), refresh=True)

    def report(self, report: Report) -> None:
        """What has come of it."""
        from migrate.evacuate.execution.report import HEAD, rows, summary

        self._end_live()
        if report.outcomes:
            print_table(HEAD, rows(report.outcomes))
        for name, why in report.stay.items():
            click.echo(f"{name} was not to be moved: {why}")
        for words in report.misplaced:
            click.echo(f"look at this: {words}")
        click.echo(summary(report))

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class JsonView(EvacuateView):
    """One JSON object a line on stdout: notes, plan, states of containers, report."""

    def note(self, words: str) -> None:
        """`{"note": WORDS}`."""
        self._print({"note": words})

    def plan(self, plan: Plan) -> None:
        """`{"plan": Plan}`, fields as in migrate.evacuate.model."""
        import msgspec

        self._print({"plan": msgspec.to_builtins(plan)})

    intent = plan

    def tasks(self, tasks: Sequence[Task]) -> None:
        """`{"tasks": [Task...]}`, fields as in migrate.evacuate.execution.course."""
        import msgspec

        self._print({"tasks": [msgspec.to_builtins(task) for task in tasks]})

    def _line(self, course: Course) -> None:
        state = str(course.state)
        if self._told.get(course.task.container, ("", 0.0))[0] != state:
            self._told[course.task.container] = (state, 0.0)
            self._print({"container": course.task.name, "to": course.task.target, "state": state})

    def course(self, course: Course) -> None:
        """`{"container": NAME, "to": HOST, "state": STATE}`, where the state is a new one."""
        with self._lock:
            self._line(course)

    def moment(self, courses: Sequence[Course]) -> None:
        """Nothing."""

    def report(self, report: Report) -> None:
        """`{"report": {...}}`, as `--report FILE.json` has it."""
        from migrate.evacuate.execution.report import as_json

        self._print({"report": as_json(report)})

    def _print(self, value: dict[str, Any]) -> None:
        click.echo(json.dumps(value))
        sys.stdout.flush()


def show_plan(plan: Plan, *, err: bool) -> None:
    """The steps as a table, who stays and why, and the warnings."""
    if plan.steps and not err:
        head = ("NAME", "TO", "MODE", "MEMORY", "TAKES", "FROZEN", "NOTE")
        print_table(head, [
            (s.name, s.target, s.mode, human_size(s.bytes), f"{s.seconds:.1f} s",
             f"{s.downtime * 1000:.0f} ms", s.note) for s in plan.steps
        ])  # fmt: skip
    for stays in plan.stay:
        click.echo(f"{stays.name} stays:", err=err)
        for host, why in stays.why.items():
            click.echo(f"  {host + ': ' if host else ''}{why}", err=err)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=err)
    click.echo(
        f"{len(plan.steps)} containers to move from {plan.source}, {human_size(plan.bytes)}, in "
        f"about {plan.seconds:.0f} s; {len(plan.stay)} stay", err=err,
    )  # fmt: skip


def _state_words(course: Course) -> str:
    if course.outcome is not None:
        outcome = course.outcome
        if outcome.error:
            return f"{outcome.state}: {outcome.error.get('what', '')}"
        return f"{outcome.state}, frozen for {outcome.freeze_seconds * 1000:.0f} ms"
    return WORDS.get(course.phase, course.phase) or str(course.state)


def _table(courses: Sequence[Course]) -> Any:
    from rich.table import Table

    from migrate.evacuate.execution.course import State

    done = sum(course.state is State.MOVED for course in courses)
    table = Table(title=f"{done} of {len(courses)} moved", title_justify="left", box=None)
    for head in ("container", "to", "state", "sent", "rate", "left", "frozen"):
        table.add_column(head)
    order = sorted(courses, key=lambda c: c.state is State.WAITING or c.outcome is not None)
    for course in order[:_SHOWN]:
        table.add_row(*_row(course), style=_COLOURS.get(str(course.state), ""))
    if len(order) > _SHOWN:
        table.add_row(f"and {len(order) - _SHOWN} more")
    return table


def _row(course: Course) -> tuple[str, ...]:
    from migrate.evacuate.execution.course import State

    frozen = ""
    if course.outcome is not None:
        if course.outcome.state is State.MOVED:
            frozen = f"{course.outcome.freeze_seconds * 1000:.0f} ms"
    elif course.state is State.FROZEN:
        frozen = f"{(time.monotonic() - course.frozen_at) * 1000:.0f} ms"
    left = course.seconds_left
    sent = f"{human_size(course.done)} of {human_size(course.total)}" if course.total else ""
    return (
        course.task.name, course.task.target, _state_words(course), sent,
        f"{human_size(course.rate)}/s" if course.rate else "",
        f"{left:.0f} s" if left is not None else "", frozen,
    )  # fmt: skip
