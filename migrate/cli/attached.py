"""A container's output, its end and the caller's signals, as they come."""

from __future__ import annotations

import os
import select

from migrate.errors import MigrateError
from migrate.kernel.bare import contextlib, signal

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from migrate.cli.logtext import LogPrinter
    from migrate.runtime.waiting import Waiting

_NAMES: dict[int, str] = {signal.SIGINT: "INT", signal.SIGTERM: "TERM"}


def show_until_end(
    waiting: Waiting, printer: LogPrinter, signals: Signals,
    kill: Callable[[str], None],
) -> int:  # fmt: skip
    """Print the log until init has ended; its exit status. `kill` is given what is passed on.

    A second signal kills.
    """
    sources: list[Any] = [waiting, signals]
    passed = 0
    while True:
        ready, _, _ = select.select(sources, [], [])
        # Looked at before the log is read: nothing comes after the end.
        status = waiting.poll(0) if waiting in ready else None
        printer.show()
        for number in signals.caught()[passed:]:
            passed += 1
            name = "KILL" if passed > 1 else _NAMES[number]
            with contextlib.suppress(MigrateError):  # it has ended meanwhile
                kill(name)
        if status is not None:
            return status


class Signals:
    """SIGINT and SIGTERM, remembered; `fileno` is readable when one has come."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def __enter__(self) -> Signals:
        self._previous = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, _frame: object) -> None:
        self._numbers.append(number)

    def fileno(self) -> int:
        """For select and poll."""
        return self._reader

    def caught(self) -> list[int]:
        """All that have come so far, in their order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        return self._numbers
