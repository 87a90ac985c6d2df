"""kill -9 of `migrate-oci` at any line leaves nothing that `delete --force` does not clear."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.oci import foreground, start  # noqa: F401 -- loaded once
from migrate.oci.main import main
from tests.engine import eventually
from tests.oci.runtime import Runtime
from tests.runtime.killing import killed_at, lines_of, points

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
POINTS = int(os.environ.get("MIGRATE_KILL_POINTS", "8"))
ATTEMPTS = 5


def command(runtime: Runtime, *words: str | Path) -> Callable[[], object]:
    """The command."""

    def act() -> None:
        sys.argv = ["migrate-oci", "--root", str(runtime.root), *map(str, words)]
        main()

    return act


def kill_everywhere(
    runtime: Runtime, act: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> int:
    """Kill `act` at POINTS of its lines; after each, `delete --force` must leave nothing.

    Lines of waiting are counted as others: there may be fewer the next time, and the last points
    beyond its end. Then they are chosen anew.
    """
    environment = dict(os.environ)
    for _attempt in range(ATTEMPTS):
        prepare()
        count = lines_of(act, environment)
        delete(runtime)
        kills = 0
        for line in points(count, POINTS):
            prepare()
            kills += killed_at(line, act, environment)
            delete(runtime)
            assert eventually(lambda: not left(runtime)), (line, count, left(runtime))
        if kills > POINTS / 2:
            break
    return kills


def delete(runtime: Runtime) -> None:
    """Of "k", which is every test's only container."""
    runtime.identifiers.add("k")
    runtime.ok("delete", "--force", "k")


def left(runtime: Runtime) -> list[str]:
    """What `leftovers` names, and processes on the root file system."""
    return [*runtime.leftovers(), *processes_on(runtime.rootfs)]


def processes_on(rootfs: Path) -> list[str]:
    """The processes whose root directory it is, or whose program is of it."""
    found = []
    own = rootfs.stat()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            root = (entry / "root").stat()
            if (root.st_dev, root.st_ino) == (own.st_dev, own.st_ino):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_create(oci: Runtime):
    bundle = oci.bundle(oci.spec("sleep", "1000"))
    assert kill_everywhere(oci, command(oci, "create", "-b", bundle, "k")) > POINTS / 2


def test_run(oci: Runtime):
    bundle = oci.bundle(oci.spec("true"))
    assert kill_everywhere(oci, command(oci, "run", "-b", bundle, "k")) > POINTS / 2


def test_start(oci: Runtime):
    bundle = oci.bundle(oci.spec("sleep", "1000"))

    def prepare() -> None:
        oci.detached("create", "-b", bundle, "k")

    assert kill_everywhere(oci, command(oci, "start", "k"), prepare) > POINTS / 2


def test_delete(oci: Runtime):
    bundle = oci.bundle(oci.spec("sleep", "1000"))

    def prepare() -> None:
        oci.detached("run", "--detach", "-b", bundle, "k")

    act = command(oci, "delete", "--force", "k")
    assert kill_everywhere(oci, act, prepare) > POINTS / 2
