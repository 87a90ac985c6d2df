"""Processes that share memory copy-on-write: counted before, and not copied for each unasked."""

from __future__ import annotations

import pytest

from migrate.move.errors import ContainerUnfit
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.test_move import move
from tests.move.test_precopy import PROGRAMS, clean, goes_on, pair, start

__all__ = ["clean", "pair"]
pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]


def test_auto_keeps_it_shared(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "sharers.py", "6", "48")
    goes_on(source, "stress")
    taken = move(source, target, "stress")
    assert taken["mode"] == "stop-copy"
    assert "a copy of its own" in str(taken["reason"])
    goes_on(target, "stress")
    assert "stop-copy" in target.run(
        [MIGRATE, "move", "stress", source.ssh_target, "--dry-run"]
    ).stdout, "it is shared still"  # fmt: skip


def test_what_would_not_fit_its_limit_is_refused(clean: tuple[Host, Host]) -> None:
    source, target = clean
    source.run([
        MIGRATE, "run", "-d", "--name", "stress", "-m", "150m", "-v", "/usr:/usr:ro",
        "-v", f"{PROGRAMS}:/bench:ro", "bench", "/usr/bin/python3", "/bench/sharers.py", "6", "48",
    ])  # fmt: skip
    goes_on(source, "stress")
    for mode in ("pre-copy", "post-copy"):
        command = [MIGRATE, "move", "--mode", mode, "stress", target.ssh_target]
        done = source.run(command, check=False)
        assert done.returncode == ContainerUnfit.code, done.stderr
        assert "its limit is 150 MiB" in done.stderr
    move(source, target, "stress")
    goes_on(target, "stress")
