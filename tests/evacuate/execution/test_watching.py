"""Echoes of an address, on this machine's own loopback."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from migrate.evacuate.execution import watching
from migrate.evacuate.execution.watching import Watch
from tests.engine import eventually

needs_echoes = pytest.mark.skipif(
    watching._echo_socket("127.0.0.1") is None, reason="no socket for echoes is allowed here"
)


@needs_echoes
def test_what_answers_all_the_time_was_hardly_away() -> None:

    def away() -> float:
        with Watch("127.0.0.1/8") as watch:
            assert eventually(lambda: watch._answers > 10)
        return watch.longest or 0.0

    # Of a machine that is busy itself, who looks is away at times.
    assert eventually(lambda: 0 < away() < 1)


@pytest.mark.parametrize("address", ["", "no address", "10.0.0.1;reboot", "::1", "999.1.1.1/24"])
def test_what_can_not_be_asked_is_not_told(address: str) -> None:
    with Watch(address) as watch:
        time.sleep(0.01)
    assert watch.longest is None


def test_what_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_is_reply", lambda packet, raw: False)
    monkeypatch.setattr(watching, "LAST_ANSWER", 1000.0)
    begun = time.monotonic()
    with Watch("127.0.0.1") as watch:
        time.sleep(0.02)
    assert watch.longest is None
    assert time.monotonic() - begun < 60


@needs_echoes
def test_a_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, missed = threading.Event(), threading.Event()
    real = watching._is_reply

    def heard(packet: bytes, *, raw: bool) -> bool:
        if quiet.is_set():
            missed.set()
            return False
        return real(packet, raw=raw)

    monkeypatch.setattr(watching, "_is_reply", heard)
    monkeypatch.setattr(watching, "LAST_ANSWER", 60.0)
    begun = time.monotonic()
    with Watch("127.0.0.1") as watch:
        assert eventually(lambda: watch._answers > 0)
        quiet.set()
        assert missed.wait(60)
        threading.Timer(0.2, quiet.clear).start()  # it is over before the address answers again
    assert watch.longest is not None
    assert 0.2 <= watch.longest <= time.monotonic() - begun


def test_only_our_own_echoes_count_on_a_raw_socket() -> None:
    request = watching._request(7)
    ours = bytes([0x45]) + bytes(19) + b"\0" + request[1:]
    assert watching._is_reply(ours, raw=True)
    other = bytearray(ours)
    other[24] ^= 0xFF
    assert not watching._is_reply(bytes(other), raw=True)
    assert not watching._is_reply(bytes([0x45]) + bytes(19) + request, raw=True)
    for short in (b"", b"\x45", ours[:27]):
        assert not watching._is_reply(short, raw=True)


def test_the_checksum_is_that_of_rfc_1071() -> None:
    for number in (0, 1, 0x7FFF, 0xFFFF):
        total = sum(struct.unpack("!4H", watching._request(number)))
        assert (total >> 16) + (total & 0xFFFF) in {0xFFFF, 0x1FFFE}


def test_it_is_closed_when_there_is_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: socket.socket, _address: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(watching.socket.socket, "connect", refuse)
    assert watching._echo_socket("127.0.0.1") is None
