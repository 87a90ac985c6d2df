"""Moments at which the commands of a test stop: they are forks of it, and have what it patches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrate.criu import client
from tests.engine import eventually

PATIENCE = 60.0  # seconds for which who has stopped waits


class Moment:
    """Told by a file when a command has come so far; it goes on when there is another."""

    def __init__(self, directory: Path) -> None:
        self._here, self._on = directory / "moment-here", directory / "moment-on"

    def stop(self) -> None:
        """In the command."""
        self._here.touch()
        eventually(self._on.exists, PATIENCE)

    def wait(self, command: subprocess.Popen[str]) -> None:
        """In the test: until the command has come so far. Who is killed there may be followed."""
        assert eventually(lambda: self._here.exists() or command.poll() is not None)
        assert self._here.exists(), command.returncode
        self._here.unlink()

    def go_on(self) -> None:
        """In the test: nobody stops any more."""
        self._on.touch()


def of_dumps(patch: pytest.MonkeyPatch, directory: Path, script: str) -> Moment:
    """When CRIU gives notice of `script`: "query-ext-files" (it holds all tasks), "post-dump"."""
    moment, request = Moment(directory), client.Swrk.request

    def stopping(
        criu: client.Swrk, kind: str, options: Any, notify: client.Notify | None, limit: float
    ) -> Any:
        def told(name: str, pid: int) -> None:
            if name == script:
                moment.stop()
            if notify:
                notify(name, pid)

        return request(criu, kind, options, told, limit)

    patch.setattr(client.Swrk, "request", stopping)
    return moment


def before(patch: pytest.MonkeyPatch, directory: Path, owner: object, name: str) -> Moment:
    """Before this method is called."""
    moment = Moment(directory)
    method: Callable[..., Any] = getattr(owner, name)

    def stopping(*words: Any, **named: Any) -> Any:
        moment.stop()
        return method(*words, **named)

    patch.setattr(owner, name, stopping)
    return moment
