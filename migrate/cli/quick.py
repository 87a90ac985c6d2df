"""`migrate run` on its shortest way."""

from __future__ import annotations

import os

from migrate.cli.attached import Signals, show_until_end
from migrate.cli.logtext import LogPrinter
from migrate.kernel.bare import contextlib
from migrate.runtime.quick import NotQuick, Started, make
from migrate.runtime.waiting import Waiting

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from migrate.runtime.cgroups.moving import Preparing
    from migrate.runtime.wanted import Wanted


def attempt(wanted: Wanted, preparing: Preparing) -> int | None:
    """Run it; its exit status, or None: not this way."""
    state = os.environ.get("MIGRATE_STATE") or "/var/lib/migrate"
    run = os.environ.get("MIGRATE_RUN") or "/run/migrate"
    with Signals() as signals:
        try:
            started = make(state, run, wanted, preparing)
        except NotQuick:
            if signals.caught():
                raise KeyboardInterrupt from None
            return None
        return _attached(started, wanted, signals)


def _attached(started: Started, wanted: Wanted, signals: Signals) -> int:
    """Start it, show its output until its end; its exit status. What `foreground` does."""
    place = started.place
    with (
        LogPrinter(f"{place.state}/log") as printer,
        contextlib.closing(_released(started, wanted)) as waiting,
    ):
        status = show_until_end(waiting, printer, signals, lambda name: _general(started, name))
        if wanted.remove_at_exit:
            started.remove()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(started.monitor, 0)
    return status


def _released(started: Started, wanted: Wanted) -> Waiting:
    """Let init run, with the wait for its end begun before; on failure all is unmade."""
    waiting: Waiting | None = None
    try:
        waiting = Waiting(
            f"{started.place.run}/monitor.sock", removes=wanted.remove_at_exit, output=True
        )
        started.let_run()
    except BaseException:
        if waiting:
            waiting.close()
        _general(started, "delete")
        raise
    return waiting


def _general(started: Started, what: str) -> None:
    """Delete the container by force, or send it the signal `what`, the general way."""
    from migrate.cli.entry import load_site

    load_site()
    from migrate.runtime import records
    from migrate.runtime.lifecycle.delete import delete
    from migrate.runtime.lifecycle.stop import kill
    from migrate.runtime.paths import Paths

    paths = Paths.from_environment()
    record = records.find(paths, started.place.identifier)
    if what == "delete":
        delete(paths, record, force=True)
    else:
        kill(paths, record, what)
