"""The caller's terminal or streams, joined with a container's until its end or the detach keys."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Any

from migrate.cli.attached import Signals
from migrate.errors import MigrateError
from migrate.kernel.bare import contextlib, signal
from migrate.runtime.attaching import Attachment
from migrate.runtime.attachments import ERRORS
from migrate.runtime.detachkeys import DetachKeys
from migrate.runtime.terminal import raw, window_size

_CHUNK = 32768


class Session:
    """One attachment of this process; `run` is all of it."""

    def __init__(
        self, attachment: Attachment, signals: Signals, *, keys: bytes, types: bool,
        on_signal: Callable[[int], bool],
    ) -> None:  # fmt: skip
        """`types`: the caller's input is passed on. `on_signal(number)`: whether to go on."""
        self._attachment = attachment
        self._signals = signals
        self._keys = DetachKeys(keys)
        self._types = types and attachment.takes_input
        self._on_signal = on_signal
        self._told = 0

    def run(self) -> bool:
        """Until the container's streams end (True), or the caller wants no more (False)."""
        raw_input = self._types and self._attachment.terminal
        with _following_size(self._attachment), raw(0) if raw_input else contextlib.suppress():
            return self._relay()

    def _relay(self) -> bool:
        sources: list[Any] = [self._attachment, self._signals]
        if self._types:
            sources.append(0)
        while True:
            ready, _, _ = select.select(sources, [], [])
            if self._attachment in ready and not self._show():
                return True
            for number in self._signals.caught()[self._told :]:
                self._told += 1
                if not self._on_signal(number):
                    return False
            if 0 in ready:
                data = os.read(0, _CHUNK)
                if not data:
                    sources.remove(0)
                if not self._type(data):
                    return False

    def _show(self) -> bool:
        letter, data = self._attachment.receive()
        target = 2 if letter == ERRORS else 1
        while data:
            data = data[os.write(target, data) :]
        return bool(letter)

    def _type(self, data: bytes) -> bool:
        """Pass it on, or the input's end; False where the keys to detach have come."""
        text, detached = self._keys.take(data) if self._attachment.terminal else (data, False)
        with contextlib.suppress(OSError):  # the container has ended: that is told by `_show`
            self._attachment.type(text)
            if not data:
                self._attachment.end_input()
        return not detached


def size_of_ours() -> tuple[int, int] | None:
    """Rows and columns of the caller's terminal; None where standard input is none."""
    size = window_size()
    if not any(size):
        return None
    return int.from_bytes(size[:2], sys.byteorder), int.from_bytes(size[2:4], sys.byteorder)


@contextlib.contextmanager
def _following_size(attachment: Attachment) -> Any:
    """A change of the caller's window is the container's, too."""

    def resize(*_arguments: object) -> None:
        size = window_size()
        if any(size):
            with contextlib.suppress(OSError):
                attachment.resize(size)

    previous = signal.signal(signal.SIGWINCH, resize)
    try:
        resize()  # it may have changed since the size was told
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


def passing_on(kill: Callable[[str], None]) -> Callable[[int], bool]:
    """For `Session`: signals go to the container, the second kills it."""
    passed = 0

    def on_signal(number: int) -> bool:
        nonlocal passed
        passed += 1
        name = "KILL" if passed > 1 else "INT" if number == signal.SIGINT else "TERM"
        with contextlib.suppress(MigrateError):  # it has ended meanwhile
            kill(name)
        return True

    return on_signal
