"""`migrate run` in the foreground: output as it comes, signals passed on, the exit status."""

from __future__ import annotations

import contextlib

from migrate.cli.attached import Signals, show_until_end
from migrate.cli.logtext import LogPrinter
from migrate.errors import MigrateError
from migrate.runtime.control import await_monitor_end
from migrate.runtime.lifecycle.delete import delete
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process
from migrate.runtime.waiting import Waiting


def run_attached(paths: Paths, record: Record) -> int:
    """Start a created container, show its output until its end; its exit status.

    A container of `--rm` is removed here; should this process be killed, its monitor does it.
    """
    own = paths.container(record.identifier)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        printer = stack.enter_context(LogPrinter(own.log))
        try:
            waiting = Waiting(str(own.socket), removes=record.remove_at_exit, output=True)
            stack.callback(waiting.close)
            start(paths, record)
        except BaseException:
            delete(paths, record, force=True)
            raise
        process = load_process(own)
        status = show_until_end(waiting, printer, signals, lambda name: kill(paths, record, name))
        if record.remove_at_exit:
            with contextlib.suppress(MigrateError):  # somebody else has removed it, or is about to
                delete(paths, record)
    await_monitor_end(process)
    return status
