from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.transfer.errors import AgentIncompatible, ProtocolError
from migrate.transfer.protocol import (
    MAX_FRAME,
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

numbers = st.integers(0, 2**63 - 1)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
records = st.dictionaries(st.text(), values, max_size=4)
messages = st.one_of(
    st.builds(Hello, numbers, st.lists(st.text()).map(tuple), st.text()),
    st.builds(Request, numbers, st.text(), records),
    st.builds(Response, numbers, values),
    st.builds(Failure, numbers, records),
    st.builds(Event, numbers, st.text(), records),
)


@given(st.lists(messages, max_size=6), st.lists(st.integers(1, 40), max_size=50))
def test_any_chunking_gives_the_same_messages(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    decoder = FrameDecoder()
    got: list[Message] = []
    for cut in cuts:
        got += decoder.feed(stream[:cut])
        stream = stream[cut:]
    got += decoder.feed(stream)
    decoder.finish()
    assert got == sent


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
def test_garbage_raises_one_error(pieces: list[bytes], framed: bool) -> None:
    decoder = FrameDecoder()
    try:
        for piece in pieces:
            decoder.feed(struct.pack(">I", len(piece)) + piece if framed else piece)
        decoder.finish()
    except ProtocolError:
        pass


@given(messages, st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_raises_one_error(message: Message, place: int, byte: int) -> None:
    damaged = bytearray(encode(message))
    damaged[place % len(damaged)] = byte
    decoder = FrameDecoder()
    try:
        decoder.feed(damaged)
        decoder.finish()
    except ProtocolError:
        pass


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


RESULT = b"\x83\xa4type\xa8response\xa2id\x01\xa6result"


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">I", MAX_FRAME + 1),
        b"Welcome to this host!\n",
        framed(b""),
        framed(b"\xc1"),
        framed(msgspec.msgpack.encode({"type": "nonsense", "id": 1})),
        framed(msgspec.msgpack.encode({"id": 1, "method": "x"})),
        framed(msgspec.msgpack.encode({"type": "request", "id": "1", "method": "x"})),
        framed(msgspec.msgpack.encode({"type": "request", "id": 1})),
        framed(msgspec.msgpack.encode([1, 2])),
        framed(RESULT + b"\xdd\xff\xff\xff\xff"),  # an array that says it has 4 G elements
        framed(RESULT + b"\xdf\xff\xff\xff\xff"),
        framed(RESULT + b"\xdb\xff\xff\xff\xff"),
        framed(RESULT + b"\x91" * 100_000),  # nested too deep
        framed(RESULT + b"\xc7\x01\x05a"),  # an extension type
        framed(RESULT + b"\xa1\xff"),  # not UTF-8
    ],
)
def test_malformed_input(stream: bytes) -> None:
    tracemalloc.start()
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError):
        decoder.feed(stream)
    assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    tracemalloc.stop()
    with pytest.raises(ProtocolError):
        decoder.feed(encode(Hello(1)))


def test_the_end_within_a_frame() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encode(Hello(1))[:-1]) == []
    with pytest.raises(ProtocolError):
        decoder.finish()


def test_unknown_fields_are_ignored() -> None:
    body = msgspec.msgpack.encode({"type": "response", "id": 3, "result": 4, "new": [1]})
    assert FrameDecoder().feed(framed(body)) == [Response(3, 4)]


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800", b"x" * MAX_FRAME])
def test_what_can_not_be_encoded(value: Any) -> None:
    with pytest.raises(ProtocolError):
        encode(Response(1, value))


def test_handshake() -> None:
    assert check_hello(Hello(7, ("a", "b")), required=("b",)).version == 7
    with pytest.raises(AgentIncompatible):
        check_hello(Hello(0))
    with pytest.raises(AgentIncompatible, match="c, d"):
        check_hello(Hello(1, ("a",)), required=("d", "c"))
    with pytest.raises(ProtocolError):
        check_hello(Response(1))
