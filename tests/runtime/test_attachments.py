"""What the monitor does for those who are attached, on plain sockets and pipes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from migrate.runtime import attachments
from migrate.runtime.attachments import END, ERRORS, INPUT, OUTPUT, PART, Attachments
from migrate.runtime.watched import Watch


class Place:
    """Attachments with a pipe as the container's input; `held` is what they said last."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.held = False
        self.attachments = Attachments(self.watch, self._hold, terminal=False)
        self.input, self.attachments.sink = os.pipe()
        os.set_blocking(self.attachments.sink, False)
        self.open: list[socket.socket] = []

    def _hold(self, on: bool) -> None:
        self.held = on

    def client(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(5)
        self.attachments.add(theirs, [])
        self.open.append(ours)
        return ours

    def turn(self) -> None:
        """What the monitor does when there is something."""
        for entry in self.watch.ready(0):
            if entry in self.watch:
                entry.call()
        self.attachments.drop_stuck()

    def fill(self) -> bytes:
        """Output until somebody has not taken it; all of it."""
        shown = b""
        while not self.held:
            data = os.urandom(1000)
            self.attachments.show(OUTPUT, data)
            shown += data
        return shown

    def close(self) -> None:
        for each in self.open:
            each.close()
        os.close(self.input)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def test_output_is_held_until_the_slowest_has_taken_it(place: Place) -> None:
    quick, slow = place.client(), place.client()
    shown = place.fill()
    place.attachments.show(ERRORS, b"last")
    for reader in (quick, slow):
        assert place.held
        told = b""
        while not told.endswith(b"last"):
            place.turn()
            packet = reader.recv(PART + 1)
            assert packet[:1] == (ERRORS if packet[1:] == b"last" else OUTPUT)
            told += packet[1:]
        assert told == shown + b"last"
    place.turn()
    assert not place.held
    assert place.attachments.limit() is None


def test_who_takes_nothing_is_dropped_after_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "PATIENCE", 60)
    stuck = place.client()
    place.fill()
    limit = place.attachments.limit()
    assert limit is not None
    assert 0 < limit <= 60_001
    place.turn()
    assert place.held
    monkeypatch.setattr(attachments, "PATIENCE", 0.01)
    time.sleep(0.02)
    place.turn()
    assert not place.held
    while stuck.recv(PART + 1):
        pass
    quick = place.client()
    place.attachments.show(OUTPUT, b"on")
    assert quick.recv(10) == OUTPUT + b"on"


def test_who_hangs_up_holds_nothing(place: Place) -> None:
    place.client()
    place.fill()
    place.open.pop().close()
    place.turn()
    assert not place.held
    assert place.watch.all() == []


def test_input_that_is_not_read_waits_whole_and_in_order(place: Place) -> None:
    first, second = place.client(), place.client()
    data = os.urandom(PART)
    for _ in range(3):  # the pipe takes two
        first.send(INPUT + data)
        place.turn()
    second.send(INPUT + b"later")
    first.send(END)
    assert place.attachments.unread()[:PART] == data
    read = b""
    while piece := os.read(place.input, PART):
        read += piece
        place.turn()
        place.turn()
    assert read.replace(b"later", b"") == data * 3


def test_unread_input_stays_where_it_is(place: Place) -> None:
    client = place.client()
    client.send(INPUT + b"a" * 5000)
    client.send(INPUT + b"b")
    place.turn()
    place.turn()
    for _ in range(3):
        assert place.attachments.unread() == b"a" * 5000 + b"b"
    assert os.read(place.input, 10000) == b"a" * 5000 + b"b"


def test_packets_that_mean_nothing_change_nothing(place: Place) -> None:
    client = place.client()
    for packet in (b"?", b"s", b"s" + bytes(8), b"s123", INPUT):
        client.send(packet)
        place.turn()
    place.attachments.show(OUTPUT, b"still")
    assert client.recv(10) == OUTPUT + b"still"
