"""The side of who attaches to a container: its output, its input, the size of its terminal."""

from __future__ import annotations

import json
import socket

from migrate.runtime.attachments import END, INPUT, PART, SIZE
from migrate.runtime.errors import MonitorFailed

_ANSWER_LIMIT = 30.0  # seconds


class Attachment:
    """A connection to the monitor; `terminal` and `takes_input` are the container's."""

    def __init__(self, path: str, size: tuple[int, int] | None = None) -> None:
        """To the monitor that serves at `path`, with a window of `size` (rows, columns).

        Raises MonitorFailed.
        """
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._channel.settimeout(_ANSWER_LIMIT)
        try:
            self._channel.connect(path)
            self._channel.send(json.dumps({"do": "attach", "size": size}).encode())
            answer = json.loads(self._channel.recv(PART) or b"{}")
        except (OSError, ValueError) as error:
            self._channel.close()
            raise MonitorFailed(
                "the container's monitor does not answer", cause=str(error)
            ) from error
        if not answer.get("ok"):
            self._channel.close()
            raise MonitorFailed(
                "the container's monitor attaches nobody", cause=str(answer.get("error")),
                mend="it may be of an older migrate: it is another after the next start or move",
            )  # fmt: skip
        self._channel.settimeout(None)
        self.terminal = bool(answer["terminal"])
        self.takes_input = bool(answer["input"])

    def fileno(self) -> int:
        """Readable when there is output, for select and poll."""
        return self._channel.fileno()

    def receive(self) -> tuple[bytes, bytes]:
        """Which output (`attachments.OUTPUT`, ERRORS) and what; both empty at the end."""
        try:
            packet = self._channel.recv(PART + 1)
        except ConnectionError:
            packet = b""
        return packet[:1], packet[1:]

    def type(self, data: bytes) -> None:
        """Give it to the container's input; raises BrokenPipeError when nobody is there."""
        for begin in range(0, len(data), PART):
            self._channel.send(INPUT + data[begin : begin + PART])

    def end_input(self) -> None:
        """The container's input ends: a terminal gets Ctrl-D."""
        self._channel.send(END)

    def resize(self, size: bytes) -> None:
        """The window has another size, a struct winsize."""
        self._channel.send(SIZE + size)

    def close(self) -> None:
        """Be attached no longer."""
        self._channel.close()
