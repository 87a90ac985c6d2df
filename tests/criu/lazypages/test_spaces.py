"""The model against a dictionary of pages, through random histories."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.criu.lazypages.journal import ADD, CLOSED, Record
from migrate.criu.lazypages.protocol import StoreBad, read_present
from migrate.criu.lazypages.spaces import AddressSpace, Run
from migrate.criu.lazypages.tasks import Tasks, added, apply
from migrate.kernel import userfault_fill as uf

PAGE = 4096
PAGES = 64  # of a small address space

numbers = st.integers(0, PAGES - 1)
lengths = st.integers(1, 20)


@st.composite
def spaces(draw: st.DrawFn) -> AddressSpace:
    cuts = sorted(draw(st.sets(st.integers(0, PAGES), max_size=20)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return AddressSpace([Run(a * PAGE, b * PAGE, a * PAGE) for a, b in pairs])


def pages_of(space: AddressSpace) -> dict[int, int]:
    """Where each missing page's content is, all in pages."""
    return {
        (run.start + at) // PAGE: (run.offset + at) // PAGE
        for run in space.runs
        for at in range(0, run.end - run.start, PAGE)
    }


def sound(space: AddressSpace) -> None:
    assert space.remaining == sum(run.end - run.start for run in space.runs)
    reached = 0
    for run in space.runs:
        assert reached <= run.start < run.end
        reached = run.end


steps = st.lists(
    st.tuples(st.sampled_from(["cut", "move", "fork", "piece"]), numbers, numbers, lengths),
    max_size=25,
)


@given(spaces(), steps)
def test_the_model_is_a_dictionary_of_pages(space, history):
    expected = pages_of(space)
    for what, first, second, length in history:
        if what == "cut":
            gone = space.cut(first * PAGE, (first + length) * PAGE)
            was = {p: expected.pop(p) for p in range(first, first + length) if p in expected}
            assert pages_of(AddressSpace(gone)) == was
        elif what == "move" and (second >= first + length or first >= second + length):
            space.move(first * PAGE, second * PAGE, length * PAGE)
            moved = {p: expected.pop(p) for p in range(first, first + length) if p in expected}
            for page in range(second, second + length):
                expected.pop(page, None)
            expected |= {page - first + second: content for page, content in moved.items()}
        elif what == "fork":
            child = space.copy()
            child.cut(0, 2 * PAGES * PAGE)
            assert pages_of(child) == {}
        elif what == "piece":
            check_pieces(space, expected, first, length)
        sound(space)
        assert pages_of(space) == expected


def check_pieces(space: AddressSpace, expected: dict[int, int], first: int, length: int) -> None:
    address = first * PAGE
    piece = space.piece(address, length * PAGE, length * PAGE)
    assert (piece is None) == (first not in expected)
    if piece:
        assert address - length * PAGE <= piece.start <= address
        assert address < piece.end <= address + length * PAGE
        assert pages_of(AddressSpace([piece])).items() <= expected.items()
    following = space.next_piece(address, length * PAGE)
    assert (following is None) == (not expected)
    if following:
        assert 0 < following.end - following.start <= length * PAGE
        assert pages_of(AddressSpace([following])).items() <= expected.items()
        above = [page for page in expected if page >= first]
        assert not above or following.start == min(above) * PAGE


def test_an_empty_cut_changes_nothing():
    space = AddressSpace([Run(0, 4 * PAGE, 0)])
    assert space.cut(PAGE, PAGE) == []
    assert space.runs == [Run(0, 4 * PAGE, 0)]


def message(event: int, *numbers: int) -> bytes:
    return struct.pack("=Q", event) + struct.pack("=QQQ", *numbers, *[0] * (3 - len(numbers)))


def test_a_history_is_followed():
    tasks: Tasks = {}

    def follow(source: int, raw: bytes) -> list[Run]:
        return apply(tasks, Record(source, raw), lambda _c, _p: [Run(0, 8 * PAGE, 0)])

    follow(10, bytes([ADD]) + bytes(7) + added(1, 20, 21).ljust(24, b"\0"))
    follow(10, message(uf.REMAP, 0, 100 * PAGE, 2 * PAGE))
    follow(10, struct.pack("=QIIQQ", uf.FORK, 11, 0, 0, 0))
    assert follow(10, message(uf.UNMAP, 100 * PAGE, 101 * PAGE)) == [Run(100 * PAGE, 101 * PAGE, 0)]
    follow(11, message(uf.REMOVE, 4 * PAGE, 8 * PAGE))
    assert tasks[10].space.runs == [
        Run(2 * PAGE, 8 * PAGE, 2 * PAGE), Run(101 * PAGE, 102 * PAGE, PAGE)
    ]  # fmt: skip
    assert tasks[11].space.runs == [
        Run(2 * PAGE, 4 * PAGE, 2 * PAGE), Run(100 * PAGE, 102 * PAGE, 0)
    ]  # fmt: skip
    assert (tasks[11].pid, tasks[11].content) == (1, 20)
    follow(10, bytes([CLOSED]) + bytes(31))
    assert list(tasks) == [11]


@pytest.mark.parametrize("event", [0, 1, 0x11, 0x17, 0xFF])
def test_an_unknown_event_is_an_error(event):
    with pytest.raises(ValueError, match="unknown"):
        uf.parse(bytes([event]) + bytes(31))


@given(st.binary(max_size=64) | st.lists(numbers, max_size=8).map(
    lambda found: b"".join(struct.pack("<Q", n * PAGE) for n in found)
))  # fmt: skip
def test_a_list_of_present_pages_is_sound_or_refused(raw):
    import os

    descriptor = os.memfd_create("present")
    try:
        os.write(descriptor, raw)
        try:
            runs = read_present(descriptor, 40 * PAGE)
        except StoreBad:
            return
        sound(AddressSpace(runs))
        assert all(run.start % PAGE == run.end % PAGE == 0 for run in runs)
        assert not runs or runs[-1].end <= 40 * PAGE
    finally:
        os.close(descriptor)
