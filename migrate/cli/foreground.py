"""`migrate run` in the foreground: output as it comes, signals passed on, the exit status."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Any

from migrate.cli.logtext import LogPrinter
from migrate.errors import MigrateError
from migrate.kernel.filewatch import IN_MODIFY, FileWatch
from migrate.runtime.control import Waiting, await_monitor_end
from migrate.runtime.lifecycle.delete import delete
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process


def run_attached(paths: Paths, record: Record) -> int:
    """Start a created container, show its output until its end; its exit status.

    A container of `--rm` is removed here; should this process be killed, its monitor does it.
    """
    own = paths.container(record.identifier)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        printer = stack.enter_context(LogPrinter(own.log))
        watch = stack.enter_context(FileWatch())
        try:
            watch.add(own.log, IN_MODIFY)  # the monitor has made it
            waiting = Waiting(own, removes=record.remove_at_exit)
            stack.callback(waiting.close)
            start(paths, record)
        except BaseException:
            delete(paths, record, force=True)
            raise
        process = load_process(own)
        status = _show_until_end(paths, record, waiting, printer, watch, signals)
        if record.remove_at_exit:
            with contextlib.suppress(MigrateError):  # somebody else has removed it, or is about to
                delete(paths, record)
    await_monitor_end(process)
    return status


def _show_until_end(
    paths: Paths, record: Record, waiting: Waiting, printer: LogPrinter, watch: FileWatch,
    signals: _Signals,
) -> int:  # fmt: skip
    sources: list[Any] = [waiting, watch, signals]
    passed = 0
    while True:
        ready, _, _ = select.select(sources, [], [])
        watch.clear()
        ended = waiting in ready  # looked at before the reading: nothing comes after
        printer.show()
        for number in signals.caught()[passed:]:
            passed += 1
            name = "KILL" if passed > 1 else signal.Signals(number).name
            with contextlib.suppress(MigrateError):  # it has ended meanwhile
                kill(paths, record, name)
        status = waiting.poll(0) if ended else None
        if status is not None:
            return status


class _Signals:
    """SIGINT and SIGTERM, remembered; `fileno` is readable when one has come."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def __enter__(self) -> _Signals:
        self._previous = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, _frame: object) -> None:
        self._numbers.append(number)

    def fileno(self) -> int:
        return self._reader

    def caught(self) -> list[int]:
        """All that have come so far, in their order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        return self._numbers
