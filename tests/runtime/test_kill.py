"""kill -9 of a command at any line of it leaves nothing that `rm -f` does not clear."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.cli import quick
from migrate.cli.main import main
from migrate.cli.plain import plainly
from migrate.runtime.cgroups.moving import Preparing
from tests.engine import Engine
from tests.runtime.killing import killed_at, lines_of, points, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
POINTS = int(os.environ.get("MIGRATE_KILL_POINTS", "6"))
"""Lines of each command at which it is killed; `tests.runtime.soak` takes more."""


def command(*words: str | Path) -> Callable[[], object]:
    """The command on its general way."""

    def act() -> None:
        sys.argv = ["migrate", *map(str, words)]
        main()

    return act


def by_the_short_way(*words: str | Path) -> Callable[[], object]:
    """`migrate run` on its short way, which must not be refused."""

    def act() -> None:
        wanted = plainly([str(word) for word in words])
        assert wanted
        assert quick.attempt(wanted, Preparing()) == 0

    return act


def kill_everywhere(
    engine: Engine, act: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> int:
    """Kill `act` at POINTS of its lines; after each, `rm -f` must leave nothing. How many kills."""
    prepare()
    count = lines_of(act, engine.environment)
    clear(engine)
    kills = 0
    for line in points(count, POINTS):
        prepare()
        kills += killed_at(line, act, engine.environment)
        note_identifiers(engine)
        clear(engine)
        left = until(lambda: not engine.leftovers())
        assert left, (line, count, engine.leftovers())
    return kills


def note_identifiers(engine: Engine) -> None:
    """Whose control groups must be gone: a directory or a lock is there before them."""
    for directory in (engine.paths.state / "containers", engine.paths.run / "containers"):
        names = {path.name.strip(".").removesuffix(".lock") for path in directory.glob("*")}
        engine.identifiers.update(names - {"registration"})


def clear(engine: Engine) -> None:
    """What a user does: remove all that `ps -a` names, and by `rm` what has no name."""
    names = engine.ok("ps", "-aq").split()
    engine.call("rm", "-f", *names, "there-is-no-such-container")


def test_create(engine: Engine):
    act = command("create", "--name", "k", "--rootfs", engine.rootfs, "sleep", "100")
    assert kill_everywhere(engine, act) > POINTS / 2


def test_run_detached(engine: Engine):
    act = command("run", "-d", "--rootfs", engine.rootfs, "sleep", "100")
    assert kill_everywhere(engine, act) > POINTS / 2


def test_run_in_the_foreground(engine: Engine):
    act = command("run", "--rm", "--rootfs", engine.rootfs, "true")
    assert kill_everywhere(engine, act) > POINTS / 2


def test_run_by_the_short_way(engine: Engine):
    engine.once("true")  # the directories are there
    act = by_the_short_way("--rm", "--rootfs", engine.rootfs, "true")
    assert kill_everywhere(engine, act) > POINTS / 2
    act = by_the_short_way("--name", "k", "--rootfs", engine.rootfs, "true")
    assert kill_everywhere(engine, act) > POINTS / 2


def test_start(engine: Engine):
    def prepare() -> None:
        engine.ok("create", "--name", "k", "--rootfs", engine.rootfs, "sleep", "100")

    assert kill_everywhere(engine, command("start", "k"), prepare) > POINTS / 2


def test_start_of_a_stopped_one(engine: Engine):
    def prepare() -> None:
        engine.ok("run", "--name", "k", "--rootfs", engine.rootfs, "true")

    assert kill_everywhere(engine, command("start", "k"), prepare) > POINTS / 2


def test_rm(engine: Engine):
    def prepare() -> None:
        engine.detached("--name", "k", "sleep", "100")

    assert kill_everywhere(engine, command("rm", "-f", "k"), prepare) > POINTS / 2
