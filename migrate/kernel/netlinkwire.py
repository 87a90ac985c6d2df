"""Plain netlink(7): messages with attributes, dumped and sent, without a library.

For what a container's network namespace is compared with inside a pause, where each dump may cost
50 us, and for messages that are to be put in elsewhere exactly as the kernel has told them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.netlink import inside

Attribute = tuple[int, bytes]
REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NESTED = 0x8000  # NLA_F_NESTED
_TYPE = 0x3FFF  # NLA_TYPE_MASK
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_BUFFER = 1 << 17  # bytes; a dump's parts are 32 KiB at most (Linux, netlink_dump)
_SEND_BUFFER_FORCED = 32  # SO_SNDBUFFORCE, asm-generic/socket.h
_PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Message:
    """One message: its type, what stands before the attributes, and these."""

    kind: int
    header: bytes
    attributes: tuple[Attribute, ...]

    def get(self, number: int) -> bytes | None:
        """An attribute's content."""
        for found, value in self.attributes:
            if found == number:
                return value
        return None


def pack(attributes: Iterable[Attribute]) -> bytes:
    """Attributes as the kernel wants them."""
    packed = []
    for number, value in attributes:
        length = 4 + len(value)
        packed.append(struct.pack("=HH", length, number) + value + bytes(-length % 4))
    return b"".join(packed)


def unpack(data: bytes) -> tuple[Attribute, ...]:
    """The attributes in `data`, their numbers without flags; raises ValueError."""
    found, at = [], 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            raise ValueError("an attribute is longer than what holds it")
        found.append((number & _TYPE, data[at + 4 : at + length]))
        at += length + 3 & ~3
    if at < len(data):
        raise ValueError("there is something behind the last attribute")
    return tuple(found)


def text(value: bytes | None) -> str:
    """A string in an attribute; "" for none."""
    return (value or b"").split(b"\0", 1)[0].decode(errors="replace")


def number(value: bytes | None) -> int:
    """An unsigned number in this machine's byte order; 0 for none."""
    return int.from_bytes(value or b"", sys.byteorder)


class Channel:
    """A netlink socket of a network namespace, wherever the thread is later; a context manager."""

    def __init__(self, netns: Path | None, protocol: int) -> None:
        """Raises OSError."""
        with inside(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
            )
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; safe to repeat."""
        self._socket.close()

    def dump(
        self, kind: int, header: bytes, attributes: Iterable[Attribute] = (), size: int = 0
    ) -> list[Message]:  # fmt: skip
        """All that the kernel answers; raises OSError, InterruptedError where it changed.

        `size`: bytes before the attributes of an answer, where they are others than those asked by.
        """
        body = header + pack(attributes)
        self._sequence += 1
        self._socket.send(self._message(kind, REQUEST | DUMP, body))
        found: list[Message] = []
        size, changed = size or len(header), False
        while True:
            for answer, flags, content in self._answers():
                changed = changed or bool(flags & 0x10)  # NLM_F_DUMP_INTR
                if answer == _ERROR:
                    _refuse(content)
                if answer == _DONE:
                    if changed:
                        raise InterruptedError(errno.EINTR, "it changed while it was looked at")
                    return found
                found.append(Message(answer, content[:size], unpack(content[size:])))

    def count(self, kind: int, header: bytes) -> int:
        """How many the kernel tells of in a dump, whatever they look like; raises OSError."""
        self._sequence += 1
        self._socket.send(self._message(kind, REQUEST | DUMP, header))
        found = 0
        while True:
            for answer, _flags, content in self._answers():
                if answer == _ERROR:
                    _refuse(content)
                if answer == _DONE:
                    return found
                found += 1

    def fetch(self, kind: int, header: bytes, size: int) -> Message:
        """The one answer, whose attributes begin after `size` bytes; raises OSError."""
        self._sequence += 1
        self._socket.send(self._message(kind, REQUEST, header))
        for answer, _flags, content in self._answers():
            if answer == _ERROR:
                _refuse(content)
            return Message(answer, content[:size], unpack(content[size:]))
        raise OSError(errno.EPROTO, "the kernel has answered nothing")

    def ask(self, kind: int, flags: int, header: bytes, attributes: Iterable[Attribute]) -> None:
        """Have one thing changed; raises OSError."""
        self._sequence += 1
        body = header + pack(attributes)
        self._socket.send(self._message(kind, REQUEST | ACKNOWLEDGE | flags, body))
        for answer, _flags, content in self._answers():
            if answer == _ERROR:
                _refuse(content)

    def carry_out(self, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Send them as one, and wait for the end of the last but one: a batch and its two bounds.

        Of type, flags and body each. Raises OSError, whose `filename` is the number of the message
        that the kernel refused.
        """
        first, whole = self._sequence + 1, b""
        parts = []
        for kind, flags, body in messages:
            self._sequence += 1
            parts.append(self._message(kind, flags | REQUEST, body))
        whole = b"".join(parts)
        self._socket.setsockopt(socket.SOL_SOCKET, _SEND_BUFFER_FORCED, 2 * len(whole) + _BUFFER)
        self._socket.send(whole)
        while True:
            for answer, sequence, content in self._numbered_answers():
                code = -struct.unpack_from("=i", content)[0] if answer == _ERROR else 0
                if code:
                    raise OSError(code, os.strerror(code), sequence - first)
                if answer == _ERROR and sequence == first + len(messages) - 2:
                    return

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        return _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Type, flags and content of each in one datagram."""
        for kind, flags, _sequence, content in _split(self._socket.recv(_BUFFER)):
            yield kind, flags, content

    def _numbered_answers(self) -> Iterator[tuple[int, int, bytes]]:
        for kind, _flags, sequence, content in _split(self._socket.recv(_BUFFER)):
            yield kind, sequence, content


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += max(length + 3 & ~3, _HEADER.size)


def _refuse(content: bytes) -> None:
    code = -struct.unpack_from("=i", content)[0]
    if code:
        raise OSError(code, os.strerror(code))
