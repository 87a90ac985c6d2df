"""Threads that take items from one queue; who waits for them sees it when one has died."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

LOOK_EVERY = 1.0  # seconds, at the threads that are waited for
Item = TypeVar("Item")


class Workers(Generic[Item]):
    """One thread for each function; an item goes to whichever is free."""

    def __init__(
        self, work: Sequence[Callable[[Item], None]], died: Callable[[Exception], None], name: str
    ) -> None:  # fmt: skip
        """`died` is told what ended a thread: an error of `work`, or that there is no memory."""
        self._queue: queue.Queue[Item | None] = queue.Queue(2 * len(work))
        self._on_death = died
        self._dead = False
        self._threads = [
            threading.Thread(target=self._run, args=(each,), name=name, daemon=True)
            for each in work
        ]
        for thread in self._threads:
            thread.start()

    @property
    def died(self) -> bool:
        """Whether a thread has, so that items may stay undone."""
        return self._dead

    def put(self, item: Item) -> bool:
        """Wait until there is room for it; False when a thread has died."""
        while not self._dead:
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=LOOK_EVERY)
                return True
        return False

    def wait(self, timeout: float) -> bool:
        """Until all items are done, at most `timeout` seconds, or a thread has died."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(
                lambda: self._dead or not self._queue.unfinished_tasks, timeout
            )
            return not self._queue.unfinished_tasks

    def stop(self) -> None:
        """End them, when they have done what was put in. Safe to repeat."""
        for thread in self._threads:
            while thread.is_alive():
                with contextlib.suppress(queue.Full):
                    self._queue.put(None, timeout=LOOK_EVERY)
                    break
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[Item], None]) -> None:
        try:
            while (item := self._queue.get()) is not None:
                try:
                    work(item)
                finally:
                    self._queue.task_done()
            self._queue.task_done()
        except Exception as error:  # noqa: BLE001 -- told to who waits
            self._dead = True
            self._on_death(error)
            with self._queue.all_tasks_done:
                self._queue.all_tasks_done.notify_all()
