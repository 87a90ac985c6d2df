"""The near end of a control connection: ask the agent, get its answer or its typed error."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from migrate.errors import from_wire
from migrate.transfer.agent import SOFTWARE, Method, serve
from migrate.transfer.errors import ConnectionLost, ProtocolError, TimeLimitExceeded
from migrate.transfer.protocol import (
    VERSION,
    Event,
    Failure,
    FrameDecoder,
    Hello,
    Message,
    Request,
    Response,
    check_hello,
    encode,
)
from migrate.transfer.streams import ByteStream

_READ_SIZE = 256 * 1024
HANDSHAKE_SECONDS = 20.0

EventHandler = Callable[[str, Mapping[str, Any]], None]
"""`handler(name, data)`, called in the calling thread while `call` waits."""


class AgentClient:
    """One connection to one agent; calls from several threads take turns."""

    def __init__(
        self,
        stream: ByteStream,
        *,
        peer: str = "the other host",
        capabilities: tuple[str, ...] = (),
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._capabilities = capabilities
        self._decoder = FrameDecoder()
        self._waiting: list[Message] = []
        self._lock = threading.Lock()
        self._last_id = 0
        self._lost: str | None = None
        self._thread: threading.Thread | None = None
        self.hello = Hello(version=0)

    @classmethod
    def local(
        cls,
        methods: Mapping[str, Method],
        *,
        capabilities: tuple[str, ...] = (),
        session: MutableMapping[str, Any] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> AgentClient:
        """A client whose agent is a thread of this process, over a socketpair; for tests."""
        near, far = socket.socketpair()

        def run() -> None:
            with far:
                serve(
                    far.fileno(), far.fileno(), methods,
                    capabilities=capabilities, session=session, on_close=on_close,
                )  # fmt: skip

        client = cls(near, peer="the local agent")
        client._thread = threading.Thread(target=run, name="local-agent", daemon=True)
        client._thread.start()
        client.handshake()
        return client

    def handshake(
        self, *, required: tuple[str, ...] = (), timeout: float = HANDSHAKE_SECONDS
    ) -> Hello:
        """Greet each other, once, before any call.

        Raises AgentIncompatible, ProtocolError, ConnectionLost, TimeLimitExceeded.
        """
        deadline = time.monotonic() + timeout
        self._send(Hello(VERSION, self._capabilities, SOFTWARE), "the greeting", deadline)
        message = self._receive("the greeting", deadline)
        if isinstance(message, Failure):
            raise from_wire(message.error)
        self.hello = check_hello(message, required=required)
        return self.hello

    def call(
        self,
        method: str,
        /,
        *,
        on_event: EventHandler | None = None,
        timeout: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Run `method` at the agent and return its result.

        `timeout`: seconds until the answer must be there (events do not prolong it), else
        TimeLimitExceeded; the agent works on, and its late answer is dropped. Raises the agent's
        own error, ConnectionLost (it is unknown whether the method ran), ProtocolError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._last_id += 1
            request = Request(self._last_id, method, arguments)
            self._send(request, method, deadline)
            while True:
                message = self._receive(method, deadline)
                if isinstance(message, Failure) and message.id in (0, request.id):
                    raise from_wire(message.error)
                if isinstance(message, Hello | Request):
                    raise ProtocolError(f"an agent does not send {type(message).__name__} here")
                if message.id != request.id:
                    continue  # the late answer of a call that ran out of time
                if isinstance(message, Response):
                    return message.result
                if isinstance(message, Event) and on_event is not None:
                    on_event(message.name, message.data)

    def close(self) -> None:
        """End the connection; the agent sees the end of its input. Safe to repeat."""
        self._lost = self._lost or "it was closed here"
        with contextlib.suppress(OSError, EOFError):  # it may have ended by itself
            self._stream.close()
        if self._thread is not None:
            self._thread.join(10)

    def _send(self, message: Message, asked: str, deadline: float | None) -> None:
        frame = encode(message)
        self._check_alive(asked)
        try:
            self._limit(deadline)
            self._stream.sendall(frame)
        except TimeoutError as error:
            self._lost = "a request could be sent only in part"
            raise self._too_late(asked) from error
        except (OSError, EOFError) as error:
            raise self._ended(asked, str(error)) from error

    def _receive(self, asked: str, deadline: float | None) -> Message:
        while not self._waiting:
            self._check_alive(asked)
            try:
                self._limit(deadline)
                data = self._stream.recv(_READ_SIZE)
            except TimeoutError as error:
                raise self._too_late(asked) from error
            except (OSError, EOFError) as error:
                raise self._ended(asked, str(error)) from error
            if not data:
                raise self._ended(asked, "the other side closed it")
            self._waiting = self._decoder.feed(data)
        return self._waiting.pop(0)

    def _limit(self, deadline: float | None) -> None:
        if deadline is None:
            self._stream.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._stream.settimeout(left)

    def _check_alive(self, asked: str) -> None:
        if self._lost is not None:
            raise self._ended(asked, self._lost)

    def _ended(self, asked: str, cause: str) -> ConnectionLost:
        self._lost = cause or "the connection broke"
        return ConnectionLost(
            f"the connection to {self._peer} ended during '{asked}'", cause=self._lost
        )

    def _too_late(self, asked: str) -> TimeLimitExceeded:
        return TimeLimitExceeded(f"{self._peer} did not answer '{asked}' in time")
