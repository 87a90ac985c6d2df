"""A private directory for a checkpoint on its way out or in, and signals that wait."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from migrate.images.rootdir import remove_tree
from migrate.runtime.paths import Paths

DIRECTORY = "staging"


@contextlib.contextmanager
def staging(paths: Paths) -> Iterator[Path]:
    """A new directory, 0700, below the state directory; it is removed in every case.

    What a killed command has left is removed by the next one: a directory that nobody locks.
    """
    home = paths.state / DIRECTORY
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(home)
    place = Path(tempfile.mkdtemp(dir=home))
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield place
    finally:
        _remove(place)
        os.close(descriptor)


def _sweep(home: Path) -> None:
    for place in home.iterdir():
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(place)
            finally:
                os.close(descriptor)


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        remove_tree(place)


class Signals:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once, but not inside `held`.

    Whoever has been interrupted is cleaning up: later signals are not heard.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._held = 0
        self._arrived = self._raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in self.NUMBERS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._arrived = True
        if not self._held:
            self._raise()

    def _raise(self) -> None:
        if self._arrived and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def deafen(self) -> None:
        """From here on no signal interrupts: the work is done, or being undone."""
        self._raised = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A step that must not be cut in two; a signal that came meanwhile raises behind it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held:
            self._raise()
