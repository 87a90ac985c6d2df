"""One data connection as the sender sees it: an OpenSSH process, or a paramiko channel."""

from __future__ import annotations

import abc
import contextlib
import os
import queue
import select
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from migrate.errors import MigrateError, OutOfMemory
from migrate.kernel.blocks import enlarge_pipe
from migrate.kernel.scheduling import run_at_once
from migrate.transfer.errors import AgentIncompatible, ConnectionLost, TimeLimitExceeded
from migrate.transfer.frames import (
    DATA_VERSION,
    AnswerDecoder,
    Buffer,
    Header,
    Kind,
    parse_error,
)
from migrate.transfer.ssh_config import config_arguments
from migrate.transfer.ssh_errors import classify
from migrate.transfer.target import Target

if TYPE_CHECKING:
    from migrate.transfer.ssh import Connection

STALL_SECONDS = 60.0
"""A link that takes no byte for so long has failed."""

_END_SECONDS = 5.0
_STDERR_TAIL = 16 * 1024
_READ_SIZE = 64 * 1024

# aes128-gcm is the fastest where the CPU has AES instructions; the others for what lacks it.
_CIPHERS = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
    "aes128-ctr,aes256-ctr"
)
_OPTIONS = {
    "BatchMode": "yes",
    "Ciphers": _CIPHERS,
    "Compression": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "4",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
}


class DataLink(abc.ABC):
    """Frames out, answers in. `write` is for one thread at a time; `abort` for any."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.wire_bytes = 0
        self._answers: queue.SimpleQueue[tuple[Header, bytes] | None] = queue.SimpleQueue()
        self._decoder = AnswerDecoder()
        self._error: MigrateError | None = None
        self._ended = threading.Event()
        self._stderr = bytearray()

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Write all of it; raises the receiver's error, ConnectionLost, TimeLimitExceeded."""
        try:
            self._write([memoryview(buffer) for buffer in buffers if len(buffer)])
        except TimeoutError as error:
            raise TimeLimitExceeded(
                f"{self.target} took no data for {STALL_SECONDS:g} seconds"
            ) from error
        except (OSError, EOFError, ValueError) as error:
            raise self.failure("a transfer") from error

    def answer(self, kind: Kind, during: str, deadline: float) -> tuple[Header, bytes]:
        """The receiver's next frame of that kind, by the monotonic deadline; raises as `write`."""
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty as error:
                raise TimeLimitExceeded(
                    f"{self.target} did not answer during {during} in time"
                ) from error
            if answer is None:
                self._answers.put(None)  # for whoever asks next
                raise self.failure(during)
            if answer[0].kind is kind:
                return answer

    def wait_ready(self, deadline: float) -> None:
        """Wait for the receiver's READY; raises the typed error of a connection that failed."""
        header, _ = self.answer(Kind.READY, "the start of a data connection", deadline)
        if header.offset != DATA_VERSION:
            raise AgentIncompatible(
                f"{self.target} speaks version {header.offset} on data connections",
                cause=f"this side speaks {DATA_VERSION}",
            )

    def failure(self, during: str) -> MigrateError:
        """Why the link is of no use any more."""
        self._ended.wait(_END_SECONDS)  # an ERROR may still be on its way
        if self._error is not None:
            return self._error
        return classify(bytes(self._stderr).decode(errors="replace"), self.target, during)

    def _take(self, data: bytes) -> None:
        """Bytes from the receiver; runs in the reading thread."""
        if self._error is not None:
            return
        try:
            for header, payload in self._decoder.feed(data):
                if header.kind is Kind.ERROR:
                    self._error = parse_error(payload)
                    self._end()
                    return
                self._answers.put((header, payload))
        except MigrateError as error:
            self._error = error
            self._end()

    def _take_stderr(self, data: bytes) -> None:
        self._stderr += data
        del self._stderr[:-_STDERR_TAIL]

    def _end(self) -> None:
        self._ended.set()
        self._answers.put(None)

    @abc.abstractmethod
    def _write(self, views: list[memoryview]) -> None:
        """Write all; OSError."""

    @abc.abstractmethod
    def hurry(self) -> None:
        """Somebody waits for what goes over this link: its processes and threads run at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """Tell the receiver the end and wait a little for its going."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Cut it at once; a `write` that hangs returns with an error. `close` has to follow."""


class ProcessLink(DataLink):
    """A data connection through an OpenSSH process."""

    def __init__(self, target: Target, command_line: str) -> None:
        super().__init__(target)
        options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
        self._process = subprocess.Popen(
            ["ssh", *config_arguments(), "-T", *options, *target.ssh_arguments, command_line],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C is for us: the rollback still needs the connection
        )  # fmt: skip
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        enlarge_pipe(self._stdin.fileno())
        os.set_blocking(self._stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, name="data-link", daemon=True)
        self._reader.start()

    def hurry(self) -> None:
        """See `DataLink`; the other host's see to it themselves."""
        run_at_once(self._process.pid)
        run_at_once(self._reader.native_id or 0)

    def _write(self, views: list[memoryview]) -> None:
        descriptor = self._stdin.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while views:
            try:
                count = os.writev(descriptor, views[:512])
            except BlockingIOError:
                if not poll.poll(STALL_SECONDS * 1000):
                    raise TimeoutError from None
                continue
            self.wire_bytes += count
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]

    def _read(self) -> None:
        try:
            self._pass_on()
        except (OSError, MemoryError) as error:
            self._error = self._error or self._unable(error)
            self._process.kill()
        finally:
            self._process.wait()
            self._end()

    def _unable(self, error: Exception) -> MigrateError:
        if isinstance(error, MemoryError):
            return OutOfMemory("this command can get no more memory", cause=repr(error))
        return ConnectionLost(f"what {self.target} says can't be read", cause=str(error))

    def _pass_on(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector, self._process.stdout, self._process.stderr:
            selector.register(self._process.stdout, selectors.EVENT_READ, self._take)
            selector.register(self._process.stderr, selectors.EVENT_READ, self._take_stderr)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, _READ_SIZE)
                    if data:
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)

    def close(self) -> None:
        """Close its input; kill it if it is still there after 5 seconds."""
        self._close_stdin()
        self._reader.join(_END_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Kill it and wait for its end. Its input stays open: a thread may be writing to it."""
        self._process.kill()
        self._reader.join(_END_SECONDS)

    def _close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()


class ChannelLink(DataLink):
    """A data connection through paramiko, slower: for where there is no ssh command."""

    def __init__(self, connection: Connection, command_line: str) -> None:
        super().__init__(connection.target)
        self._connection = connection
        self._channel = connection.open_channel(command_line)
        self._channel.settimeout(None)
        self._readers = [
            self._start(self._channel.recv, self._take),
            self._start(self._channel.recv_stderr, self._take_stderr),
        ]
        threading.Thread(target=self._await_end, name="data-link", daemon=True).start()

    def _start(
        self, receive: Callable[[int], bytes], take: Callable[[bytes], None]
    ) -> threading.Thread:
        def run() -> None:
            with contextlib.suppress(OSError, EOFError):
                while data := receive(_READ_SIZE):
                    take(data)

        thread = threading.Thread(target=run, name="data-link", daemon=True)
        thread.start()
        return thread

    def hurry(self) -> None:
        """See `DataLink`; not the thread of paramiko, which may serve other channels."""
        for reader in self._readers:
            run_at_once(reader.native_id or 0)

    def _await_end(self) -> None:
        for reader in self._readers:
            reader.join()
        self._end()

    def _write(self, views: list[memoryview]) -> None:
        for view in views:
            self._channel.sendall(view)  # type: ignore[arg-type]  # it takes any buffer
            self.wire_bytes += len(view)

    def close(self) -> None:
        """Send the end of the input, wait at most 5 seconds, close."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()
        self._ended.wait(_END_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Close the connection under it."""
        self._connection.close()


def open_links(target: Target, command_line: str, count: int, timeout: float) -> list[DataLink]:
    """`count` links, opened side by side, each with its receiver ready.

    Through OpenSSH where there is an ssh command, else through paramiko. Raises HostUnreachable,
    AuthenticationFailed, HostKeyUnknown, HostKeyChanged, AgentMissing, AgentIncompatible,
    TimeLimitExceeded, or what the receiver says (PathRefused for a wrong token).
    """
    deadline = time.monotonic() + timeout
    links: list[DataLink] = []
    try:
        for _ in range(count):
            links.append(_open_link(target, command_line))
        for link in links:
            link.wait_ready(deadline)
    except BaseException:
        for link in links:
            link.abort()
            link.close()
        raise
    return links


def _open_link(target: Target, command_line: str) -> DataLink:
    if shutil.which("ssh"):
        return ProcessLink(target, command_line)
    from migrate.transfer.ssh import open_session

    connection = open_session(target)
    try:
        return ChannelLink(connection, command_line)
    except BaseException:
        connection.close()
        raise
