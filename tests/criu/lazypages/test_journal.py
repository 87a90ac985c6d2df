"""The journal: what is received is recorded, and a cut at any moment leaves it whole."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.criu.lazypages.journal import ADD, CLOSED, Journal, Saved
from migrate.criu.lazypages.spaces import Run
from migrate.kernel import userfault_fill as uf


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("journal")
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def channel() -> Iterator[tuple[int, int]]:
    """Messages come out of it as out of a userfaultfd."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def message(event: int, number: int = 0) -> bytes:
    return struct.pack("=QQQQ", event, number, 2, 3)


def test_a_successor_reads_what_was_received(memory, channel):
    reader, writer = channel
    journal = Journal(memory)
    assert list(journal.records()) == []
    journal.append(reader, ADD, b"hello")
    sent = [message(uf.REMOVE, 1), message(uf.FAULT, 2), message(uf.UNMAP, 3), message(uf.FAULT)]
    os.write(writer, b"".join(sent))
    assert [journal.receive(reader) for _ in range(5)] == [*sent, None]
    following = Journal(memory)
    records = list(following.records())
    assert [r.message[0] for r in records] == [ADD, uf.REMOVE, uf.UNMAP]
    assert {r.source for r in records} == {reader}
    assert records[0].message[8:13] == b"hello"
    following.append(7, CLOSED)
    assert list(Journal(memory).records())[-1].source == 7
    assert len(list(Journal(memory).records())) == 4


def test_a_record_cut_off_is_none(memory):
    journal = Journal(memory)
    record = journal.append(5, ADD, b"x" * 24)
    end = journal._tail
    journal._memory[end + 9 : end + 40] = record.message[1:]  # all but the event
    assert len(list(Journal(memory).records())) == 1


runs = st.lists(st.builds(Run, *[st.integers(0, 1 << 56)] * 3), max_size=5)
saved = st.lists(st.builds(Saved, *[st.integers(0, 1 << 31)] * 4, runs), max_size=5)


@given(saved, saved)
def test_a_snapshot_takes_the_place_of_the_records(first, second):
    memory = os.memfd_create("journal")
    try:
        journal = Journal(memory)
        for state in (first, second, first):
            journal.append(1, ADD)
            journal.snapshot(state)
            assert Journal(memory).saved() == state
            assert list(Journal(memory).records()) == []
            journal.append(2, CLOSED)
            assert [r.source for r in Journal(memory).records()] == [2]
    finally:
        os.close(memory)


def test_it_is_compacted_before_it_takes_much_memory(memory, monkeypatch):
    monkeypatch.setattr("migrate.criu.lazypages.journal.COMPACT_AFTER", 1000)
    journal = Journal(memory)
    for _ in range(50):
        while not journal.is_long:
            journal.append(3, CLOSED)
        journal.snapshot([Saved(3, 1, 4, 5, [Run(0, 4096, 0)])])
    assert os.fstat(memory).st_blocks * 512 < 300_000
    assert [one.uffd for one in Journal(memory).saved()] == [3]
