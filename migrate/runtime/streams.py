"""A container's standard streams in its monitor: pipes or a terminal, the log, who is attached."""

from __future__ import annotations

import os

from migrate.kernel.bare import contextlib, json
from migrate.runtime.attachments import ERRORS, OUTPUT, Attachments
from migrate.runtime.logs import LogFile, LogWriter
from migrate.runtime.watched import READ

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from migrate.kernel.bare import socket
    from migrate.runtime.watched import Watch

_READ_SIZE = 65536
_TYPED_LIMIT = 1 << 20  # bytes; more than a pipe and a packet have
_DRAIN_ROUNDS = 64
_LETTERS = {"stdout": OUTPUT, "stderr": ERRORS}


class Streams:
    """The monitor's ends of them; the container's are closed when it has them."""

    def __init__(self, launch: dict[str, Any], watch: Watch, grown: Callable[[], None]) -> None:
        """`grown` is called when the log may have."""
        self.terminal = bool(launch.get("terminal"))
        self._watch = watch
        self._grown = grown
        self.attached = Attachments(watch, self._hold, terminal=self.terminal)
        self._log = LogFile(launch["log"], *launch["log_limits"])
        self._ends = {name: os.pipe() for name in ("stdout", "stderr")}
        self._input = -1
        if launch.get("interactive") and not self.terminal:
            self._input, self.attached.sink = os.pipe()
            os.set_blocking(self.attached.sink, False)
        for name, (reader, _writer) in self._ends.items():
            self._follow(reader, name)

    def _follow(self, source: int, name: str) -> None:
        os.set_blocking(source, False)
        self._watch.add(source, self._on_output, (name, LogWriter(self._log, name)))

    def names(self) -> dict[str, str]:
        """The names by which CRIU knows the pipes."""
        found = {name: ends[0] for name, ends in self._ends.items()}
        if self.attached.sink >= 0 and not self.terminal:
            found["stdin"] = self.attached.sink
        return {name: f"pipe:[{os.fstat(end).st_ino}]" for name, end in found.items()}

    def of_container(self) -> tuple[int, int, int]:
        """Its ends: input (-1 for none), output, error output."""
        return self._input, self._ends["stdout"][1], self._ends["stderr"][1]

    def handed_over(self) -> None:
        """The container has its ends: close ours of them."""
        for name, (reader, writer) in self._ends.items():
            if writer >= 0:
                os.close(writer)
            self._ends[name] = (reader, -1)
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def take_terminal(self, master: int) -> None:
        """The other end of the container's terminal; it is ours now."""
        self._follow(master, "stdout")
        self.attached.sink = os.dup(master)

    def _on_output(self, source: int, about: tuple[str, LogWriter]) -> bool:
        """Take what there is; whether there was something."""
        name, log = about
        try:
            data = os.read(source, _READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # EIO of a terminal that nobody has open any more
            data = b""
        if data:
            with contextlib.suppress(OSError):  # a full disk loses log lines, not the container
                log.feed(data)
            self.attached.show(_LETTERS[name], data)
            self._grown()
        elif self._ends["stdout"][1] < 0:
            self._watch.drop(source)
            with contextlib.suppress(OSError):
                log.finish()
        return bool(data)

    def _hold(self, on: bool) -> None:
        """Stop reading output, or go on."""
        for entry in self._watch.all():
            if entry.handler == self._on_output:
                self._watch.change(entry.thing, 0 if on else READ)

    def drain(self) -> None:
        """Take all that the container has written so far."""
        for entry in self._watch.all():
            if entry.handler == self._on_output:
                for _round in range(_DRAIN_ROUNDS):
                    if not self._on_output(entry.thing, entry.argument):
                        break

    def finish(self) -> None:
        """The container has ended."""
        self.handed_over()
        self.drain()
        for entry in self._watch.all():
            if entry.handler == self._on_output:  # somebody outside still holds the writing end
                with contextlib.suppress(OSError):
                    entry.argument[1].finish()
        self.attached.finish()

    def attach(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """Let a connection of the monitor's socket carry the streams, and nothing else."""
        size = [int(number) for number in request.get("size") or ()]
        told = {"ok": True, "terminal": self.terminal, "input": self.attached.sink >= 0}
        connection.send(json.dumps(told).encode())
        self.attached.add(connection, size)

    def obey(self, what: str, descriptor: int = -1) -> None:
        """A request of the monitor's socket, which says what they mean; raises OSError."""
        if what == "terminal":
            self.take_terminal(os.dup(descriptor))
        elif what == "unread":
            os.write(descriptor, self.attached.unread())
        elif what == "type":
            self.attached.type(os.read(descriptor, _TYPED_LIMIT))
        else:
            self.drain()
