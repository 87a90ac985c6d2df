"""The start of a created init, and the wait for its end."""

from __future__ import annotations

import os
import select

from migrate.kernel.bare import json, socket
from migrate.runtime.errors import MonitorFailed, StartFailed


class Waiting:
    """A wait for init's end that begins when this is made: nothing that comes later is missed."""

    def __init__(self, path: str, *, removes: bool = False, output: bool = False) -> None:
        """Of the monitor that serves at `path`.

        With `removes` the caller promises to remove a container of `--rm` before `close`; with
        `output` it is woken when the log has grown.

        Raises MonitorFailed when the monitor does not serve.
        """
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._channel.connect(path)
            self._channel.send(
                json.dumps({"do": "wait", "removes": removes, "output": output}).encode()
            )
        except OSError as error:
            self._channel.close()
            raise MonitorFailed(
                "the container's monitor does not answer", cause=str(error)
            ) from error

    def fileno(self) -> int:
        """Readable when there is an answer, for select and poll."""
        return self._channel.fileno()

    def poll(self, limit: float | None) -> int | None:
        """Init's exit status (128 + n for signal n); None if it runs on after `limit` seconds.

        None also for the news that the log has grown.

        Raises MonitorFailed when the monitor has died.
        """
        ready, _, _ = select.select([self._channel], [], [], limit)
        if not ready:
            return None
        try:
            data = self._channel.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise MonitorFailed(
                "the container's monitor has died", cause="somebody or something ended it",
                mend="the container may run on: see 'migrate ps'; its output is lost",
            )  # fmt: skip
        status: int | None = json.loads(data).get("status")
        return status

    def close(self) -> None:
        """Wait no longer."""
        self._channel.close()


def release_init(path: str, limit: float = 5.0) -> None:
    """Let a created init exec its program; raises StartFailed when it does not answer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StartFailed("the container can't be started", cause="its fifo is gone") from error
    with os.fdopen(descriptor, "rb", buffering=0) as fifo:
        ready, _, _ = select.select([fifo], [], [], limit)
        if not ready or not fifo.read(1):
            raise StartFailed("the container's init does not answer", cause="it has died")
    os.unlink(path)
