"""Which pages go first: what was written in both spans of time, then what was in the last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from migrate.kernel.pagemap import page_numbers, page_runs
from migrate.move.inuse import InUse

Pages = st.sets(st.integers(0, 60), max_size=40)


def runs(pages: set[int]) -> np.ndarray:
    return page_runs(np.array(sorted(pages), dtype=np.uint64))


def pages_of(told: np.ndarray) -> set[int]:
    return set(page_numbers(told).tolist())


@given(Pages, Pages, Pages)
def test_what_is_written_again_and_again_goes_first(
    last: set[int], before: set[int], other: set[int]
) -> None:
    order = list(InUse({7: runs(last), 8: runs(other)}, {7: runs(before)}).ordered())
    assert [(pid, pages_of(told)) for pid, told in order] == [
        (7, last & before), (8, set()), (7, last - before), (8, other),
    ]  # fmt: skip


def test_a_process_that_was_not_there_before_and_one_that_is_gone() -> None:
    order = list(InUse({8: runs({1, 2})}, {7: runs({5})}).ordered())
    assert [(pid, pages_of(told)) for pid, told in order] == [(8, set()), (8, {1, 2})]
