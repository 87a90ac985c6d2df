"""Interruption by signals: once, and never where a step must not be cut in two."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from migrate.kernel import threads

_SOON = 0.001  # seconds
_LOCKING = {threading.__file__, queue.__file__, threads.__file__}
_WAITING = {"wait", "wait_for"}


def _at_a_lock(frame: FrameType | None) -> bool:
    """Whether the interrupted code passes a lock or a wake-up on (CPython, Lib/threading.py).

    Where it only waits for a condition, it may be cut short: it takes back what it has prepared.
    `Thread.join` may not: cut short, it takes a thread that runs for one that has ended (CPython
    3.11, Thread._wait_for_tstate_lock). Who waits long for a thread waits for an event of its own.
    """
    while frame and frame.f_code.co_filename == __file__:  # in a handler that has not returned yet
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename not in _LOCKING:
        return False
    if frame.f_code.co_name not in _WAITING:
        return True
    seen = frame.f_locals  # of Condition.wait; it undoes all from `gotit = False` on
    return "waiter" in seen and seen.get("gotit") is not False


class Signals:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once, but not inside `held`.

    Whoever has been interrupted is cleaning up: later signals are not heard. Who cleans up after
    any failure calls `deafen` in a `finally` of the work, inside the `try` whose `except` cleans
    up: a signal that comes between the failure and that call is caught there, too.

    Handlers, not masks: a mask holds for one thread, and the signal would find another.

    Nor does it raise where `threading` or `queue` pass a lock or a wake-up on in Python code: the
    lock would stay taken, or a thread asleep, for ever, and who cleans up would wait for it. Then
    it comes by SIGALRM a moment later.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    AGAIN = signal.SIGALRM

    def __init__(self) -> None:
        self._held = 0
        self._arrived = self._raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (*self.NUMBERS, self.AGAIN):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        self._arrived = True
        if self._held:
            return
        if _at_a_lock(frame):
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        else:
            self._raise()

    def _raise(self) -> None:
        if self._arrived and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def deafen(self) -> None:
        """From here on no signal interrupts: the work is done, or being undone."""
        self._raised = True

    def listen(self) -> None:
        """Signals interrupt again, once; those that came before are forgotten."""
        self._arrived = self._raised = False

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
