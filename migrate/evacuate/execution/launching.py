"""A command of migrate at a host, this one or another: its lines as they come, and its end."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from migrate.errors import HostNotReady
from migrate.transfer.remote import MISSING_STATUS, candidates, migrate_command_line
from migrate.transfer.target import Target

LINE_LIMIT = 1 << 20  # bytes; a longer line is cut
_LAST_LINES = 20
_HANDSHAKES = threading.BoundedSemaphore(4)
"""At once: with ten unauthenticated ones sshd begins to drop them (MaxStartups, sshd_config(5))."""
LOST = -1
"""The status of a command whose connection broke: nobody knows how it ended."""


class Command(Protocol):
    """A command that runs."""

    def lines(self) -> Iterator[str]:
        """What it prints, without the line ends, until its output ends."""

    def interrupt(self) -> None:
        """End its standard input, which stops a command that was given --stop-at-eof."""

    def wait(self) -> int:
        """Its exit status once it has ended, LOST where that can't be known."""

    def complaint(self) -> str:
        """The last lines of its error output."""


Launch = Callable[[str, tuple[str, ...]], Command]
"""Start `migrate ARGUMENTS` at an address, "" for this host."""


def launch(address: str, arguments: tuple[str, ...]) -> Command:
    """Start it; raises what `migrate.transfer.ssh.open_session` does, HostNotReady, OSError.

    At another host it has an SSH connection of its own: sshd allows few sessions on one
    (MaxSessions, sshd_config(5)), and a break concerns one command only.
    """
    if address:
        return _Remote(Target.parse(address), arguments)
    return _Local(arguments)


class _Local:
    def __init__(self, arguments: tuple[str, ...]) -> None:
        program = next((path for path in reversed(candidates()) if Path(path).is_file()), None)
        if program is None:
            raise HostNotReady(
                "this host has no command 'migrate'", cause="looked in the usual places"
            )
        # A session of its own: the terminal's Ctrl-C is for who conducts, not for each move.
        self._child: subprocess.Popen[bytes] = subprocess.Popen(
            [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        self._tail = _Tail(self._child.stderr)

    def lines(self) -> Iterator[str]:
        return _lines(self._stdout)

    def interrupt(self) -> None:
        self._stdin.close()

    def wait(self) -> int:
        status = self._child.wait()
        self._stdin.close()
        self._tail.join()
        self._stdout.close()
        return status

    def complaint(self) -> str:
        return self._tail.text()


class _Remote:
    def __init__(self, target: Target, arguments: tuple[str, ...]) -> None:
        from migrate.transfer.ssh import open_session

        with _HANDSHAKES:
            self._connection = open_session(target)
        try:
            self._channel = self._connection.open_channel(migrate_command_line(arguments))
        except BaseException:
            self._connection.close()
            raise
        self._tail = _Tail(self._channel.makefile_stderr("rb"))

    def lines(self) -> Iterator[str]:
        return _lines(self._channel.makefile("rb"))

    def interrupt(self) -> None:
        try:
            self._channel.shutdown_write()
        except OSError:
            return  # it has ended

    def wait(self) -> int:
        status = int(self._channel.recv_exit_status())  # -1 when the connection broke
        self._tail.join()
        self._connection.close()
        return status

    def complaint(self) -> str:
        return self._tail.text()


class _Tail:
    """Reads a command's error output, so that it never blocks on it, and keeps the end."""

    def __init__(self, stream: IO[bytes] | Any) -> None:
        self._stream = stream
        self._kept: deque[str] = deque(maxlen=_LAST_LINES)
        self._thread = threading.Thread(target=self._read, name="complaints", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self._kept.extend(_lines(self._stream))

    def join(self) -> None:
        # A grandchild may hold the stream open for longer; what it says is nothing to us.
        self._thread.join(5.0)

    def text(self) -> str:
        return "\n".join(tuple(self._kept))


def _lines(stream: IO[bytes] | Any) -> Iterator[str]:
    try:
        while line := stream.readline(LINE_LIMIT):
            yield line.decode(errors="replace").rstrip("\r\n")
    except (OSError, EOFError, ValueError):
        return  # the connection broke: `wait` tells


def run(
    start: Launch, address: str, arguments: tuple[str, ...]
) -> tuple[int, list[str], str]:  # fmt: skip
    """Run it to its end: status, lines, complaint. Raises as `launch` does."""
    command = start(address, arguments)
    printed = list(command.lines())
    status = command.wait()
    complaint = command.complaint()
    if status == MISSING_STATUS and address:
        from migrate.transfer.ssh_errors import agent_missing

        raise agent_missing(Target.parse(address), complaint[-600:])
    return status, printed, complaint
