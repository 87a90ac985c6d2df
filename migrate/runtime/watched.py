"""What a monitor waits for: descriptors to be read, each with whom to call.

As `selectors`, which takes longer to load than a container to start.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

READ, WRITE = select.POLLIN, select.POLLOUT


class Watched:
    """One of them: a descriptor or what has one, and `handler(thing, argument)`."""

    __slots__ = ("argument", "fd", "handler", "thing")

    def __init__(self, fd: int, thing: Any, handler: Callable[..., object], argument: Any) -> None:
        self.fd = fd
        self.thing = thing
        self.handler = handler
        self.argument = argument

    def call(self) -> None:
        """Tell who wants to know."""
        self.handler(self.thing, self.argument)


class Watch:
    """All of them."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._entries: dict[int, Watched] = {}

    def __contains__(self, entry: Watched) -> bool:
        return self._entries.get(entry.fd) is entry

    def add(
        self, thing: Any, handler: Callable[..., object], argument: Any = None, events: int = READ
    ) -> None:
        """From now on, or otherwise than before."""
        fd = thing if isinstance(thing, int) else thing.fileno()
        self._entries[fd] = Watched(fd, thing, handler, argument)
        self._poll.register(fd, events)

    def change(self, thing: Any, events: int) -> None:
        """For other events; 0 for none, not even its end."""
        fd = thing if isinstance(thing, int) else thing.fileno()
        if events:
            self._poll.register(fd, events)
        else:
            try:
                self._poll.unregister(fd)
            except KeyError:  # it was for none before
                return

    def drop(self, thing: Any) -> None:
        """No longer; before it is closed."""
        fd = thing if isinstance(thing, int) else thing.fileno()
        self.change(fd, 0)
        del self._entries[fd]

    def all(self) -> list[Watched]:
        """Those that there are now."""
        return list(self._entries.values())

    def ready(self, limit: int | None = None) -> list[Watched]:
        """Those that have something or have ended, after `limit` milliseconds at most."""
        told = [fd for fd, _events in self._poll.poll(limit)]
        return [self._entries[fd] for fd in told if fd in self._entries]
