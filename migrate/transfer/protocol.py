"""The control protocol: bytes in, messages out, no I/O (docs/protocol.md, "Control").

A frame is a 4-byte big-endian length and a msgpack map whose `type` names the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from migrate.transfer.errors import AgentIncompatible, ProtocolError

VERSION = 1
OLDEST_VERSION = 1
MAX_FRAME = 16 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """First message of both sides: what each of them speaks."""

    version: int
    capabilities: tuple[str, ...] = ()
    software: str = ""


class Request(msgspec.Struct, frozen=True, tag_field="type", tag="request"):
    """Client to agent: run `method` with named arguments."""

    id: int
    method: str
    arguments: dict[str, Any] = {}


class Response(msgspec.Struct, frozen=True, tag_field="type", tag="response"):
    """Agent to client: the method's result."""

    id: int
    result: Any = None


class Failure(msgspec.Struct, frozen=True, tag_field="type", tag="failure"):
    """Agent to client: the method's error, as of `MigrateError.to_wire`. Id 0: no request's."""

    id: int
    error: dict[str, Any]


class Event(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """Agent to client: progress of the request that runs."""

    id: int
    name: str
    data: dict[str, Any] = {}


Message = Hello | Request | Response | Failure | Event


def _refuse_extension(code: int, _data: memoryview) -> Any:
    raise ValueError(f"msgpack extension type {code} is not allowed")


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
    Message, ext_hook=_refuse_extension
)


def encode(message: Message) -> bytes:
    """The frame of one message; raises ProtocolError if it can't be put on the wire."""
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        kind = type(message).__name__
        raise ProtocolError(f"a {kind} message can't be encoded", cause=str(error)) from error
    if len(body) > MAX_FRAME:
        raise ProtocolError(
            f"a message of {len(body)} bytes is too large",
            cause=f"the limit is {MAX_FRAME} bytes; bulk bytes belong on the data connections",
        )
    return _LENGTH.pack(len(body)) + body


def decode_body(body: bytes | bytearray | memoryview) -> Message:
    """The message in one frame's body; raises ProtocolError whatever is wrong with it."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ProtocolError("a frame holds no valid message", cause=str(error)[:500]) from error


class FrameDecoder:
    """Cuts a byte stream into messages; holds at most one frame and what was fed with it.

    After a ProtocolError the stream has no known position: every later call raises again.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame
        self._broken: ProtocolError | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """All messages that are complete with `data`; raises ProtocolError on the first bad one."""
        if self._broken is not None:
            raise self._broken
        self._buffer += data
        messages = []
        try:
            while (body := self._next_body()) is not None:
                messages.append(decode_body(body))
        except ProtocolError as error:
            self._broken = error
            self._buffer.clear()
            raise
        return messages

    def finish(self) -> None:
        """The stream has ended; raises ProtocolError if it did so within a frame."""
        if self._buffer and self._broken is None:
            raise ProtocolError(
                "the stream ends within a frame", cause=f"{len(self._buffer)} bytes left over"
            )

    def _next_body(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._max_frame:
            head = bytes(self._buffer[:40])
            raise ProtocolError(
                f"a frame says that it has {length} bytes, more than {self._max_frame}",
                cause=f"the stream begins {head!r}: does something else write to it, "
                "such as a shell's start-up file?",
            )
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body


def check_hello(message: Message, *, required: Iterable[str] = ()) -> Hello:
    """The peer's Hello if we can work with it.

    Any version from OLDEST_VERSION up is accepted: of two versions, the newer side knows how far it
    is compatible. Raises ProtocolError for another message, AgentIncompatible for a version too
    old or a capability that is missing.
    """
    if not isinstance(message, Hello):
        raise ProtocolError(f"the first message is {type(message).__name__}, not Hello")
    if message.version < OLDEST_VERSION:
        raise AgentIncompatible(
            f"the other host speaks protocol version {message.version}",
            cause=f"its software is {message.software[:100]!r}; "
            f"this one speaks {OLDEST_VERSION} to {VERSION}",
        )
    missing = sorted(set(required) - set(message.capabilities))
    if missing:
        raise AgentIncompatible(
            f"the other host's migrate can't do: {', '.join(missing)}",
            cause=f"its software is {message.software[:100]!r}",
        )
    return message
