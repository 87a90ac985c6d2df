"""`migrate run` on its shortest way, for a command line that is plain; click reads all others."""

from __future__ import annotations

import os

from migrate.cli.attached import Signals, show_until_end
from migrate.cli.logtext import LogPrinter
from migrate.kernel.bare import contextlib
from migrate.runtime.quick import NotQuick, Started, Wanted, make
from migrate.runtime.waiting import Waiting

_FLAGS = {"--rm": "remove_at_exit"}
_VALUES = {"--name": "name", "--rootfs": "rootfs", "-w": "directory", "--workdir": "directory",
           "--network": "network"}  # fmt: skip
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def attempt(words: list[str]) -> int | None:
    """Run what stands behind `migrate run`; its exit status, or None: not this way."""
    wanted = plainly(words)
    if wanted is None:
        return None
    state = os.environ.get("MIGRATE_STATE") or "/var/lib/migrate"
    run = os.environ.get("MIGRATE_RUN") or "/run/migrate"
    with Signals() as signals:
        try:
            started = make(state, run, wanted)
        except NotQuick:
            if signals.caught():
                raise KeyboardInterrupt from None
            return None
        return _attached(started, wanted, signals)


def plainly(words: list[str]) -> Wanted | None:
    """What a command line wants that has only plain options; None for every other."""
    wanted = Wanted()
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _FLAGS:
            setattr(wanted, _FLAGS[option], True)
        elif option in _VALUES and rest and rest[0] and not rest[0].startswith("-"):
            setattr(wanted, _VALUES[option], rest.pop(0))
        elif option in {"-e", "--env"} and rest and _is_variable(rest[0]):
            wanted.environment.append(rest.pop(0))
        else:
            return None
    if not wanted.rootfs and rest:
        wanted.image = rest.pop(0)
    wanted.arguments = rest
    fits = (
        bool(wanted.image or wanted.rootfs) and wanted.network in {"none", "host"}
        and (not wanted.directory or wanted.directory.startswith("/"))
        and _is_name(wanted.name)
    )  # fmt: skip
    return wanted if fits else None


def _is_variable(word: str) -> bool:
    return "=" in word and not word.startswith("=") and "\0" not in word


def _is_name(name: str) -> bool:
    """Whether it is none, or one that `records.check_name` takes."""
    return len(name) <= 128 and _NAME.issuperset(name) and not name.startswith(("_", ".", "-"))


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
