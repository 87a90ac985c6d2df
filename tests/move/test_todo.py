"""Which awaited pages are still to be sent, and what the target says of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.criu.lazypages.spaces import Run
from migrate.move import pagestore
from migrate.move.todo import AROUND, NEAR, Todo, decode, encode
from migrate.transfer.errors import ProtocolError
from migrate.transfer.frames import PAGE

Pages = st.sets(st.integers(0, 200), max_size=80)


def runs_of(pages: set[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page * PAGE:
            runs[-1] = (runs[-1][0], (page + 1) * PAGE)
        else:
            runs.append((page * PAGE, (page + 1) * PAGE))
    return runs


def pages_of(runs: object) -> list[int]:
    return [page // PAGE for start, end in runs for page in range(int(start), int(end), PAGE)]


def array(pages: set[int]) -> np.ndarray:
    return np.array(runs_of(pages), dtype=np.uint64).reshape(-1, 2)


@given(Pages, st.lists(st.integers(0, 200), max_size=5))
def test_each_page_is_taken_once(pages: set[int], asked: list[int]) -> None:
    todo = Todo()
    todo.replace({7: array(pages)})
    assert todo.remaining == len(pages) * PAGE
    taken: list[int] = []
    for page in asked:
        assert todo.page(7, page * PAGE + 5) == page * PAGE
        taken += [page] if page in pages and page not in taken else []
        around = pages_of(todo.around(7, page * PAGE + 5))
        assert not set(around) & set(taken)
        taken += around
    for part in todo.parts(7):
        assert (part[1:, 0] >= part[:-1, 1]).all()
        taken += pages_of(part)
    assert sorted(taken) == sorted(pages)
    assert todo.remaining == 0


def test_who_jumps_about_is_sent_nothing_behind_a_page() -> None:
    todo = Todo()
    todo.replace({7: array(set(range(100_000)))})
    for page in range(0, 100_000, NEAR // PAGE):
        assert not len(todo.around(7, page * PAGE))
    assert not len(todo.around(8, page * PAGE))
    near = page - 20
    assert pages_of(todo.around(7, near * PAGE)) == list(
        range(near // 16 * 16, near // 16 * 16 + 16)
    )


def test_it_goes_on_behind_what_was_asked_for() -> None:
    todo = Todo()
    todo.replace({7: array(set(range(10_000)))})
    todo.around(7, 5000 * PAGE)
    first = next(todo.parts(7))
    assert int(first[0, 0]) == (5000 * PAGE // AROUND + 1) * AROUND


@given(Pages, st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), max_size=20))
def test_what_lacks_is_awaited_and_not_arrived(
    tmp_path_factory: pytest.TempPathFactory, pages: set[int], arrived: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    store = root / pagestore.DIRECTORY
    store.mkdir()
    (store / "7.awaited").write_bytes(array(pages).astype("<u8").tobytes())
    log = [(first * PAGE, (first + count) * PAGE) for first, count in arrived]
    (store / "7.arrived").write_bytes(b"".join(struct.pack("<QQ", *run) for run in log))
    lacking = pagestore.lacking(root)
    gone = {page for first, count in arrived for page in range(first, first + count)}
    assert pages_of(run[:2] for run in lacking.get(7, [])) == sorted(pages - gone)
    assert (7 in lacking) == bool(pages - gone)
    decoded = decode(encode(lacking))
    assert all((decoded[pid] == np.array([r[:2] for r in lacking[pid]])).all() for pid in lacking)


def test_no_store_lacks_nothing(tmp_path: Path) -> None:
    assert pagestore.lacking(tmp_path) == {}


@pytest.mark.parametrize(
    "raw",
    [
        5, [5], [(1, b"xyz")], [(1, struct.pack("<QQ", PAGE, 0))],
        [(1, struct.pack("<QQ", 5, PAGE))], [(1, struct.pack("<QQ", 0, 1 << 60))], [("x", b"")],
    ],
)  # fmt: skip
def test_an_answer_that_can_not_be_is_refused(raw: object) -> None:
    with pytest.raises(ProtocolError):
        decode(raw)


def test_encoding() -> None:
    assert encode({7: [Run(PAGE, 2 * PAGE, PAGE)]}) == [(7, struct.pack("<QQ", PAGE, 2 * PAGE))]
