"""`migrate run` in the foreground: output as it comes, signals passed on, the exit status."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from migrate.cli.attached import Signals, show_until_end
from migrate.cli.logtext import LogPrinter
from migrate.cli.peers import tell_gone
from migrate.errors import MigrateError
from migrate.runtime.control import await_monitor_end
from migrate.runtime.lifecycle.delete import delete
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_process
from migrate.runtime.waiting import Waiting

if TYPE_CHECKING:
    from migrate.cli.session import Session
    from migrate.runtime.paths import ContainerPaths


def run_attached(paths: Paths, record: Record, detach_keys: bytes = b"") -> int:
    """Start a created container, show its output until its end; its exit status.

    One with a terminal or an open input is joined with the caller's streams; 0 when they are
    detached. A container of `--rm` is removed here; should this process be killed, or detach, its
    monitor does it.
    """
    own = paths.container(record.identifier)
    joined = record.terminal or record.interactive
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        printer = stack.enter_context(LogPrinter(own.log))
        try:
            waiting = Waiting(str(own.socket), removes=record.remove_at_exit, output=not joined)
            stack.callback(waiting.close)
            session = None
            if joined:
                session = _session(own, record, signals, detach_keys, stack, paths)
            start(paths, record)
        except BaseException:
            delete(paths, record, force=True)
            raise
        process = load_process(own)
        if session:
            if not session.run():
                return _detached(record)
            status = _status(waiting)
        else:
            status = show_until_end(
                waiting, printer, signals, lambda name: kill(paths, record, name)
            )
        if record.remove_at_exit:
            with contextlib.suppress(MigrateError):  # somebody else has removed it, or is about to
                delete(paths, record)
                tell_gone(paths, [record])
    await_monitor_end(process)
    return status


def _session(
    own: ContainerPaths, record: Record, signals: Signals, keys: bytes,
    stack: contextlib.ExitStack, paths: Paths,
) -> Session:  # fmt: skip
    from migrate.cli.session import Session, passing_on, size_of_ours
    from migrate.runtime.attaching import Attachment

    attachment = Attachment(str(own.socket), size_of_ours())
    stack.callback(attachment.close)
    passed = passing_on(lambda name: kill(paths, record, name))
    return Session(attachment, signals, keys=keys, types=record.interactive, on_signal=passed)


def _detached(record: Record) -> int:
    sys.stderr.write(f"\ndetached; 'migrate attach {record.name}' comes back\n")
    return 0


def _status(waiting: Waiting) -> int:
    """The exit status, which follows the last output."""
    while (status := waiting.poll(None)) is None:
        pass
    return status
