"""Pages sent as what differs from those that the other side has."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.transfer.deltas import SentPages
from migrate.transfer.errors import DataDamaged, ProtocolError
from migrate.transfer.frames import (
    ARRIVAL_FLAG,
    HEADER_SIZE,
    PAGE,
    XOR_FLAG,
    ZSTD_FLAG,
    Buffer,
    Kind,
    frame,
    pages_table,
    parse_done,
    parse_error,
    unpack,
    xor_digest,
)
from migrate.transfer.outgoing import OutgoingFile
from migrate.transfer.pages import Packer, PagesPiece
from migrate.transfer.receiver import make_root
from tests.transfer.test_receiver import TOKEN, run

PAGES = 40
SLOW = 1.0  # seconds a byte


class Source:
    """Some pages, sent in rounds over `links` connections that become one stream."""

    def __init__(self, room: int = 1 << 20, links: int = 1) -> None:
        self.memory = bytearray(PAGES * PAGE)
        self.sent = SentPages(room)
        self.packers = [Packer(self.sent) for _ in range(links)]
        self.sent.link_took(1, SLOW)
        size = len(self.memory)
        self.file = OutgoingFile(1, "7", size=size, mode=0o600, descriptor=None)
        self.stream = frame(Kind.OPEN, b"7", mode=0o600, file=1, offset=size)
        self.flags: list[int] = []
        self.size = 0

    def _read(self, runs: np.ndarray, buffer: bytearray) -> np.ndarray:
        at = 0
        for start, end in runs.tolist():
            buffer[at : at + end - start] = self.memory[start:end]
            at += end - start
        return runs

    def round(self, pages: set[int], *, fresh: bool = False, awaited: bool = False) -> int:
        """Send these; the bytes on the wire."""
        begun = len(self.stream)
        for number, page in enumerate(sorted(pages)):
            runs = np.array([(page * PAGE, page * PAGE + PAGE)], dtype=np.uint64)
            packer = self.packers[number % len(self.packers)]
            self._take(packer.frames(PagesPiece(self.file, runs, self._read, fresh, awaited)))
        self.sent.end_round()
        return len(self.stream) - begun

    def _take(self, made: tuple[list[Buffer], int]) -> None:
        data = b"".join(made[0])
        self.size += made[1]
        self.stream += data
        while data:
            header = unpack(data)
            self.flags.append(header.flags)
            data = data[HEADER_SIZE + header.length :]

    def arrives(self, root: Path) -> None:
        """The other side has the same."""
        status, answers = run(root, self.stream + frame(Kind.FLUSH, offset=1))
        assert status == 0, parse_error(answers[-1][1])
        assert parse_done(answers[-1][1]) == (1, self.size)
        assert (root / "7").read_bytes() == bytes(self.memory)


CHANGES = st.lists(
    st.dictionaries(st.integers(0, PAGES - 1), st.sampled_from("bzrt"), max_size=PAGES),
    min_size=1, max_size=8,
)  # fmt: skip


def change(page: bytes, how: str) -> bytes:
    """A few bytes of it, zeros, all of it, or text."""
    if how == "b":
        at = random.randrange(PAGE - 8)
        return page[:at] + os.urandom(8) + page[at + 8 :]
    return {"z": bytes(PAGE), "r": os.urandom(PAGE), "t": b"some text " * 410}[how][:PAGE]


@settings(deadline=None, max_examples=60)
@given(CHANGES, st.sampled_from([0, 1, 3, PAGES]), st.integers(1, 2), st.integers(0, 9))
def test_the_other_side_has_what_was_sent(
    rounds: list[dict[int, str]], room: int, links: int, late: int
) -> None:
    source = Source(room * PAGE, links)
    source.memory[:] = os.urandom(len(source.memory))
    source.round(set(range(PAGES)), fresh=True)
    for number, changed in enumerate(rounds):
        for page, how in changed.items():
            place = slice(page * PAGE, page * PAGE + PAGE)
            source.memory[place] = change(bytes(source.memory[place]), how)
        if number % 3 == 2:  # the link is fast for a round
            source.sent.link_took(1 << 60, 0.0)
        source.round(set(changed), awaited=number == late)
        source.sent.link_took(1, float(1 << 61))
        assert len(source.sent) <= room
    with tempfile.TemporaryDirectory() as base:
        source.arrives(make_root(Path(base), TOKEN))


def test_a_few_bytes_of_each_page(tmp_path: Path) -> None:
    source = Source()
    source.memory[:] = os.urandom(len(source.memory))
    every = set(range(PAGES))
    source.round(every, fresh=True)
    whole = source.round(every)  # from here on they are hot
    assert whole > PAGES * PAGE
    assert not any(flags & XOR_FLAG for flags in source.flags)
    for _ in range(3):
        for page in every:
            source.memory[page * PAGE : page * PAGE + 8] = os.urandom(8)
        assert source.round(every) < 0.05 * whole
    assert source.flags[-1] == XOR_FLAG | ZSTD_FLAG
    source.arrives(make_root(tmp_path, TOKEN))


def test_pages_that_are_wholly_new_are_not_tried_for_long(tmp_path: Path) -> None:
    source = Source()
    every = set(range(PAGES))
    for _ in range(4):
        source.memory[:] = os.urandom(len(source.memory))
        source.round(every)
    assert not any(flags & XOR_FLAG for flags in source.flags)
    source.arrives(make_root(tmp_path, TOKEN))


def test_a_fast_link_gets_pages_as_they_are(tmp_path: Path) -> None:
    source = Source()
    source.sent.link_took(1 << 40, 1.0)
    source.memory[:] = os.urandom(len(source.memory))
    for _ in range(3):
        source.round(set(range(PAGES)))
    assert not any(flags & XOR_FLAG for flags in source.flags)
    assert len(source.sent) == 0
    source.arrives(make_root(tmp_path, TOKEN))


def test_what_was_sent_longest_ago_makes_room() -> None:
    sent = SentPages(4 * PAGE)
    pages = np.zeros((4, PAGE), dtype=np.uint8)

    def addresses(*numbers: int) -> np.ndarray:
        return np.array(numbers, dtype=np.uint64) * PAGE

    def known(*numbers: int) -> list[bool]:
        return sent.look(b"7", addresses(*numbers))[0].tolist()

    sent.keep(b"7", addresses(1, 2, 3, 4), pages)
    sent.keep(b"7", addresses(5), pages[:1])
    assert known(1, 2, 3, 4, 5) == [True] * 4 + [False]
    sent.end_round()
    sent.keep(b"7", addresses(2, 5), pages[:2])
    assert known(1, 2, 3, 4, 5) == [True] * 4 + [False]
    sent.end_round()
    sent.keep(b"7", addresses(5), pages[:1])  # 1 has missed a round
    assert known(1, 2, 3, 4, 5) == [False, True, True, True, True]
    assert sent.look(b"8", addresses(2))[0].tolist() == [False]
    sent.forget(b"7", addresses(2, 3))
    assert known(2, 3, 4) == [False, False, True]


def xor_frame(content: bytes, difference: bytes, flags: int = XOR_FLAG) -> bytes:
    head = frame(Kind.OPEN, b"7", mode=0o600, file=1, offset=PAGE)
    table = pages_table([(0, PAGE)], [])
    return head + frame(
        Kind.PAGES, table + xor_digest(content) + difference, flags=flags, file=1
    )  # fmt: skip


def test_another_page_than_the_sender_thinks_is_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path, TOKEN)
    content, base = os.urandom(PAGE), os.urandom(PAGE)
    difference = (np.frombuffer(content, np.uint8) ^ np.frombuffer(base, np.uint8)).tobytes()
    (root / "7").write_bytes(base)
    assert run(root, xor_frame(content, difference))[0] == 0
    assert (root / "7").read_bytes() == content
    wrong = base[:-1] + bytes([base[-1] ^ 1])
    (root / "7").write_bytes(wrong)
    status, answers = run(root, xor_frame(content, difference))
    assert status == DataDamaged.code
    assert isinstance(parse_error(answers[-1][1]), DataDamaged)
    assert (root / "7").read_bytes() == wrong


@pytest.mark.parametrize("flags", [XOR_FLAG | ARRIVAL_FLAG, XOR_FLAG | ZSTD_FLAG, XOR_FLAG])
def test_what_can_not_be(tmp_path: Path, flags: int) -> None:
    root = make_root(tmp_path, TOKEN)
    short = b"x" if flags == XOR_FLAG else os.urandom(PAGE)
    status, _ = run(root, xor_frame(os.urandom(PAGE), short, flags))
    expected = DataDamaged if flags & ZSTD_FLAG else ProtocolError
    assert status == expected.code
    assert not (root / "7").read_bytes().strip(b"\0")


def test_a_process_that_has_gone() -> None:
    source = Source()
    runs = np.array([(0, PAGE)], dtype=np.uint64)
    piece = PagesPiece(source.file, runs, lambda runs, buffer: runs[:0], fresh=False)
    assert source.packers[0].frames(piece) == ([], 0)
