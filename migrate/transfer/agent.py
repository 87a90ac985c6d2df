"""The far end of a control connection: allow-listed methods served over two descriptors."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import select
import typing
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import migrate
from migrate.errors import (
    DiskFull,
    InternalError,
    MigrateError,
    OutOfMemory,
    is_lack_of_memory,
)
from migrate.transfer.errors import ArgumentsInvalid, MethodUnknown, ProtocolError
from migrate.transfer.lifeline import LOOK_EVERY, Lifeline
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

log = logging.getLogger(__name__)

SOFTWARE = f"migrate {getattr(migrate, '__version__', '?')}"
_READ_SIZE = 256 * 1024
HEARTBEAT = 5.0  # seconds between signs of life of an agent that has nothing to do

Method = Callable[..., Any]
"""`method(context, **named arguments)`; annotated arguments are checked against their types."""


class Context:
    """What a method gets first: the connection's state and a way to report progress."""

    def __init__(self, output: _Output, input_fd: int, session: MutableMapping[str, Any]) -> None:
        self.session = session
        self.peer = Hello(version=0)
        self._output = output
        self._input_fd = input_fd
        self._request_id = 0

    def progress(self, name: str, /, **data: Any) -> None:
        """Tell the client; a client that is gone does not disturb the method (see `peer_gone`)."""
        self._output.send(Event(self._request_id, name, data))

    @property
    def peer_gone(self) -> bool:
        """Whether the client has gone away: a method that may stop half-way asks this."""
        if self._output.gone:
            return True
        poll = select.poll()
        poll.register(self._input_fd, select.POLLRDHUP)
        gone = select.POLLHUP | select.POLLRDHUP | select.POLLERR
        return any(events & gone for _, events in poll.poll(0))


class _Output:
    """Writes whole messages; remembers that the reader is gone instead of raising it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.gone = False

    def send(self, message: Message) -> None:
        view = memoryview(encode(message))
        try:
            while view and not self.gone:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            log.info("the client is gone: %s", error)
            self.gone = True


@dataclass(frozen=True)
class _Parameter:
    """One named argument of a method."""

    name: str
    kind: Any
    required: bool


class _Entry:
    """A method with the signature that it is called by."""

    def __init__(self, name: str, method: Method) -> None:
        self.name = name
        self._method = method
        hints = typing.get_type_hints(method)
        self._parameters = []
        for parameter in list(inspect.signature(method).parameters.values())[1:]:
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"method {name}: {parameter} can't be a named argument")
            self._parameters.append(
                _Parameter(
                    parameter.name,
                    hints.get(parameter.name, Any),
                    parameter.default is parameter.empty,
                )
            )

    def call(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Run it with those of the arguments that it knows; raises ArgumentsInvalid."""
        chosen = {}
        for parameter in self._parameters:
            if parameter.name in arguments:
                chosen[parameter.name] = self._convert(parameter, arguments[parameter.name])
            elif parameter.required:
                raise ArgumentsInvalid(f"{self.name} needs the argument '{parameter.name}'")
        return self._method(context, **chosen)

    def _convert(self, parameter: _Parameter, value: Any) -> Any:
        try:
            return msgspec.convert(value, parameter.kind, dec_hook=_convert_path)
        except msgspec.ValidationError as error:
            raise ArgumentsInvalid(
                f"{self.name}: the argument '{parameter.name}' is invalid", cause=str(error)
            ) from error


def _convert_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"{type(value).__name__} can't become {kind.__name__}")


def describe_failure(error: Exception) -> MigrateError:
    """The error that may travel: a MigrateError as it is, others without their insides."""
    if isinstance(error, MigrateError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" writing {error.filename}" if error.filename else ""
        return DiskFull(f"the disk is full{place}", cause=str(error))
    if is_lack_of_memory(error):
        return OutOfMemory("the other host's agent can get no more memory", cause=repr(error))
    return InternalError(
        "an unforeseen error at the other host", cause=f"{type(error).__name__}: {error}"
    )


class _Server:
    """One connection: handshake, then requests one after the other."""

    def __init__(self, entries: Mapping[str, _Entry], output: _Output, context: Context) -> None:
        self._entries = entries
        self._output = output
        self._context = context
        self._greeted = False

    def handle(self, message: Message) -> None:
        if not self._greeted:
            self._context.peer = check_hello(message)
            self._greeted = True
        elif isinstance(message, Request):
            self._answer(message)
        else:
            raise ProtocolError(f"a client does not send {type(message).__name__} messages")

    def _answer(self, request: Request) -> None:
        self._context._request_id = request.id
        try:
            entry = self._entries.get(request.method)
            if entry is None:
                raise MethodUnknown(f"the agent has no method '{request.method[:100]}'")
            result = entry.call(self._context, request.arguments)
            self._output.send(Response(request.id, result))
        except Exception as error:  # the boundary: whatever happened must be told
            if not isinstance(error, MigrateError):
                log.exception("method %s failed", request.method)
            self._output.send(Failure(request.id, describe_failure(error).to_wire()))


def serve(
    input_fd: int,
    output_fd: int,
    methods: Mapping[str, Method],
    *,
    capabilities: tuple[str, ...] = (),
    session: MutableMapping[str, Any] | None = None,
    on_close: Callable[[], None] | None = None,
    lifeline: Lifeline | None = None,
) -> None:
    """Serve `methods` until the input ends or the link has failed, then call `on_close`.

    Requests run one at a time, in order. `session` is the `context.session` of all of them. The
    descriptors stay the caller's. Returns early, with a Failure of id 0 sent, when the client
    breaks the protocol. Raises TypeError for a method that can't be called by names.
    """
    entries = {name: _Entry(name, method) for name, method in methods.items()}
    output = _Output(output_fd)
    context = Context(output, input_fd, {} if session is None else session)
    server = _Server(entries, output, context)
    decoder = FrameDecoder()
    try:
        output.send(Hello(VERSION, tuple(capabilities), SOFTWARE))
        while data := _read(input_fd, output, lifeline or Lifeline(None)):
            for message in decoder.feed(data):
                server.handle(message)
        decoder.finish()
    except MigrateError as error:
        log.warning("the client broke the protocol: %s", error.what)
        output.send(Failure(0, error.to_wire()))
    finally:
        if on_close is not None:
            on_close()


def _read(descriptor: int, output: _Output, lifeline: Lifeline) -> bytes:
    """What comes next; b"" at the end, and when nobody is there to send it any more.

    Meanwhile a sign of life every HEARTBEAT seconds. Whose client vanished while the link was down
    never hears of its end: nothing is sent, so nothing is refused. What is sent is answered by a
    reset when the link is back, and `lifeline` sees what nobody answers.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    wait, told = HEARTBEAT, False
    try:
        while not poll.poll(wait * 1000):
            if lifeline.is_cut():
                log.warning("the client does not answer any more: its link has failed")
                return b""
            if lifeline.is_waiting:
                wait = LOOK_EVERY
            elif told:
                wait, told = HEARTBEAT - min(LOOK_EVERY, HEARTBEAT), False
            else:
                output.send(Event(0, "alive"))
                wait, told = min(LOOK_EVERY, HEARTBEAT), True
        return os.read(descriptor, _READ_SIZE)
    except ConnectionError:
        return b""


def take_stdio() -> tuple[int, int]:
    """Take standard input and output for ourselves: (input, output), close-on-exec.

    Descriptor 0 becomes /dev/null and descriptor 1 the standard error, so that no print and no
    child can put a byte between the frames.
    """
    input_fd, output_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return input_fd, output_fd


def serve_stdio(
    methods: Mapping[str, Method],
    *,
    capabilities: tuple[str, ...] = (),
    session: MutableMapping[str, Any] | None = None,
    on_close: Callable[[], None] | None = None,
) -> None:
    """`serve` over standard input and output: what `migrate agent` does."""
    input_fd, output_fd = take_stdio()
    serve(
        input_fd, output_fd, methods,
        capabilities=capabilities, session=session, on_close=on_close, lifeline=Lifeline.of_ssh(),
    )  # fmt: skip
