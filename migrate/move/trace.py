"""A move as a Chrome trace: both hosts' phases on the source's clock (opens in Perfetto).

The format: "Trace Event Format", JSON object form; times in microseconds.
"""

from __future__ import annotations

import contextlib
import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from migrate.errors import MigrateError
from migrate.kernel.files import write_atomically
from migrate.move.clock import Offset, measure
from migrate.move.errors import TraceUnwritable
from migrate.move.outgoing import Outgoing
from migrate.move.progress import Event, Phases
from migrate.move.steps import checked

SOURCE, TARGET = 1, 2  # pid in the trace
_ROWS = {
    (SOURCE, 1): "phases", (SOURCE, 2): "the pause", (SOURCE, 3): "rounds of memory",
    (TARGET, 1): "asked by the source",
}  # fmt: skip
PHASES, PAUSE, ROUNDS = 1, 2, 3  # tid at the source
STEPS = 1  # tid at the target
MOST_NAME = 200  # characters
CALL_LIMIT = 20.0  # seconds
_ROUND_FACTS = ("bytes", "dirty_rate", "files_pause", "predicted_pause", "last")


class Trace:
    """Collects what one move does, and is written whatever comes of it."""

    def __init__(self, path: Path) -> None:
        """Writes an empty trace, so that it's known to be possible; raises TraceUnwritable."""
        self._path = path.absolute()
        self._events: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {"clock": "CLOCK_MONOTONIC of the source"}
        self._round_end = 0.0
        self.write()

    @contextlib.contextmanager
    def of(self, move: Outgoing) -> Iterator[None]:
        """Follow a move; at its end, whatever that is, the target is asked what it did.

        A file that can't be written then is told as a note: the move has its own outcome.
        """
        offset = self._clock_of(move.agent.call)
        try:
            yield
        finally:
            self._take_phases(move)
            if offset:
                self._take_steps(move.agent.call, offset)
            try:
                self.write()
            except TraceUnwritable as error:
                move.report(Event("note", f"{error.what}: {error.cause}"))

    def event(self, event: Event) -> None:
        """Take in what the move tells: rounds, and notes."""
        now = time.monotonic()
        if event.kind == "round":
            begun = max(now - float(event.data["seconds"]), self._round_end)
            self._round_end = now
            facts = {key: event.data[key] for key in _ROUND_FACTS if event.data.get(key)}
            self._slice((SOURCE, ROUNDS), event.name, begun, now, facts)
        elif event.kind == "note":
            self._add((SOURCE, PHASES), event.name, now, {"ph": "i", "s": "p"})

    def _clock_of(self, call: Callable[..., Any]) -> Offset | None:
        """The target's clock against ours; one that can't be told is noted in the trace."""
        try:
            offset = measure(call)
        except MigrateError as error:
            self._facts["target"] = f"its clock is not known: {error.what}"
            return None
        self._facts["clock_offset_seconds"] = offset.seconds
        self._facts["clock_uncertainty_seconds"] = offset.uncertainty
        return offset

    def _take_phases(self, move: Outgoing) -> None:
        self._take_spans(PHASES, move.phases)
        self._take_spans(PAUSE, move.frozen)
        if spans := move.frozen.spans:
            self._slice((SOURCE, PHASES), "frozen", spans[0].begun, spans[-1].ended, {})

    def _take_spans(self, row: int, phases: Phases) -> None:
        for span in phases.spans:
            self._slice((SOURCE, row), span.name, span.begun, span.ended, {})

    def _take_steps(self, call: Callable[..., Any], offset: Offset) -> None:
        try:
            steps = checked(call("host.steps", timeout=CALL_LIMIT))
        except MigrateError as error:
            self._facts["target"] = f"it did not tell its steps: {error.what}"
            return
        for step in steps:
            begun = offset.ours(step.begun)
            self._slice((TARGET, STEPS), step.name, begun, begun + step.seconds, {})

    def _slice(
        self, row: tuple[int, int], name: str, begun: float, ended: float, facts: dict[str, Any]
    ) -> None:  # fmt: skip
        more = {"ph": "X", "dur": round((ended - begun) * 1e6, 3), "args": facts}
        self._add(row, name, begun, more)

    def _add(self, row: tuple[int, int], name: str, moment: float, more: dict[str, Any]) -> None:
        place = {"name": name[:MOST_NAME], "pid": row[0], "tid": row[1]}
        self._events.append(place | {"ts": round(moment * 1e6, 3)} | more)

    def write(self) -> None:
        """Replace the file, with what has been seen so far; raises TraceUnwritable."""
        names = [_named("process_name", pid, 0, name) for pid, name in (
            (SOURCE, "source"), (TARGET, "target")
        )]  # fmt: skip
        names += [_named("thread_name", *row, name) for row, name in _ROWS.items()]
        whole = {"traceEvents": names + self._events, "otherData": self._facts}
        try:
            # A rename would replace a device by a file.
            if self._path.exists() and not stat.S_ISREG(self._path.lstat().st_mode):
                raise OSError("there is something that is no regular file")
            write_atomically(self._path, json.dumps(whole, allow_nan=False).encode())
        except OSError as error:
            what = f"the trace {self._path} can't be written"
            raise TraceUnwritable(what, cause=error.strerror or str(error)) from error


def _named(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
