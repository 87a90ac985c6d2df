"""How a move looks while it goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.sizes import human_size

if TYPE_CHECKING:
    from migrate.move.plan import Plan
    from migrate.move.progress import Event, Result

LINE_EVERY = 1.0  # seconds between plain lines of one phase
WORDS = {
    "preflight": "checking both hosts",
    "prepare": "preparing the target",
    "memory": "sending memory while it runs",
    "freeze": "freezing",
    "stop": "stopping",
    "dump": "dumping",
    "files": "writing files",
    "transfer": "sending",
    "restore": "restoring at the target",
    "verify": "comparing all memory",
    "commit": "committing",
    "serve": "it runs there; sending the rest of its memory",
    "clean up": "cleaning up here",
}


class MoveView:
    """Renders the events of one move on stderr, its closing table on stdout."""

    def __init__(self, name: str, target: str) -> None:
        self._title = f"{name} -> {target}"
        self._live = sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None
        self._phase_begun = self._last_line = 0.0

    def __enter__(self) -> MoveView:
        if self._live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )  # fmt: skip

            self._progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
                TransferSpeedColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._progress.start()
            self._task = self._progress.add_task(self._title, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._progress:
            self._progress.stop()

    def event(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "phase":
            self._phase_begun = time.monotonic()
            self._show(WORDS.get(event.name, event.name))
        elif event.kind == "bytes":
            self._bytes(event.name, int(event.data["done"]), int(event.data["total"]))
        elif event.kind == "round":
            self._round(event)
        elif event.kind == "note" and not event.data:
            self._show(event.name)

    def _round(self, event: Event) -> None:
        sent, pause = human_size(event.data["bytes"]), event.data["predicted_pause"] * 1000
        words = f"{event.name}: {sent} in {event.data['seconds']:.2f} s"
        if event.data["dirty_rate"]:
            written = human_size(int(event.data["dirty_rate"]))
            words += f", {written}/s written, a pause of about {pause:.0f} ms"
        self._show(words + (f"; {event.data['last']}" if event.data["last"] else ""))

    def _show(self, words: str) -> None:
        if self._progress:
            self._progress.update(
                self._task, description=f"{self._title}: {words}", completed=0, total=None
            )
        else:
            click.echo(f"{self._title}: {words}", err=True)

    def _bytes(self, what: str, done: int, total: int) -> None:
        if self._progress:
            self._progress.update(self._task, completed=done, total=max(total, 1))
            return
        now = time.monotonic()
        if now - max(self._last_line, self._phase_begun) < LINE_EVERY:
            return
        self._last_line = now
        rate = done / max(now - self._phase_begun, 0.001)
        left = (total - done) / max(rate, 1)
        click.echo(
            f"{self._title}: {what} {human_size(done)} of {human_size(total)},"
            f" {human_size(rate)}/s, {left:.0f} s left", err=True,
        )  # fmt: skip

    def plan(self, plan: Plan) -> None:
        """Print the plan of a dry run."""
        click.echo(f"container  {plan.name} ({plan.container})")
        click.echo(f"target     {plan.target} ({plan.target_name})")
        click.echo(f"mode       {plan.mode}: {plan.reason}")
        if plan.risk:
            click.echo(f"risk       {plan.risk}")
        if plan.tracker:
            click.echo(f"tracker    {plan.tracker}")
        click.echo(f"memory     {human_size(plan.memory_bytes)}")
        click.echo(f"layers     {len(plan.missing_layers)} to send")
        click.echo(f"obstacles  {len(plan.obstacles) or 'none'}")

    def explanation(self, plan: Plan) -> None:
        """Print the plan, and why it is in this mode and no other."""
        self.plan(plan)
        for mode, why in plan.other_modes:
            click.echo(f"not {mode:9}  {why}")

    def result(self, result: Result) -> None:
        """Print the closing table."""
        if self._progress:
            self._progress.stop()
        frozen = result.freeze_seconds * 1000
        click.echo(f"{result.name} runs on {result.target} (generation {result.generation})")
        click.echo(f"  mode         {result.mode}: {result.reason}")
        word = "stopped" if result.mode == "cold" else "frozen"
        click.echo(f"  {word:12} {frozen:8.1f} ms")
        for name, seconds in result.freeze_phases.items():
            click.echo(f"    {name:10} {seconds * 1000:8.1f} ms")
        click.echo(
            f"  sent         {human_size(result.bytes_sent)} for "
            f"{human_size(result.memory_bytes)} of memory, {result.layers_sent} layers"
        )
        click.echo(f"  whole move   {result.total_seconds:8.2f} s")
        if result.warning:
            click.echo(f"warning: {result.warning}", err=True)
