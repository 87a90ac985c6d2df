"""`migrate run` in the foreground: output as it comes, signals passed on, the exit status."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

from migrate.cli.logtext import LogPrinter
from migrate.errors import MigrateError
from migrate.runtime.control import Waiting, await_monitor_end
from migrate.runtime.lifecycle.delete import delete
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process

POLL = 0.02  # seconds
REMOVAL_LIMIT = 10.0  # seconds


def run_attached(paths: Paths, record: Record) -> int:
    """Start a created container, show its output until its end; its exit status."""
    own = paths.container(record.identifier)
    with _signals_caught() as caught, LogPrinter(own.log) as printer:
        try:
            waiting = Waiting(own)
            start(paths, record)
        except BaseException:
            delete(paths, record, force=True)
            raise
        with contextlib.closing(waiting):
            status = None
            passed = 0
            while status is None:
                status = waiting.poll(POLL)
                printer.show()
                for number in caught[passed:]:
                    passed += 1
                    name = "KILL" if passed > 1 else signal.Signals(number).name
                    with contextlib.suppress(MigrateError):  # it has ended meanwhile
                        kill(paths, record, name)
        printer.show()
    if record.remove_at_exit:
        _await_removal(paths, record)
    else:
        await_monitor_end(load_process(own))
    return status


@contextlib.contextmanager
def _signals_caught() -> Iterator[list[int]]:
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {n: signal.signal(n, lambda number, _frame: caught.append(number)) for n in numbers}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _await_removal(paths: Paths, record: Record) -> None:
    """The monitor's last deed is the removal: when the command is done, so is that."""
    deadline = time.monotonic() + REMOVAL_LIMIT
    own = paths.container(record.identifier)
    while (own.state.exists() or own.lock.exists()) and time.monotonic() < deadline:
        time.sleep(POLL)
