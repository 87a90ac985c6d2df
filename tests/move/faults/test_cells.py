"""A sample of the matrix of faults, all of which `make soak` carries out; and what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hosts import Lan
from tests.move.faults.cells import FAULTS, MODES, Cell, cells, sample
from tests.move.faults.stage import Stage, Wrong, stage

NUMBER = int(os.environ.get("MIGRATE_FAULT_CELLS", "20"))
SEED = int(os.environ.get("MIGRATE_FAULT_SEED", "20261127"))


def test_the_matrix_is_large_and_has_every_fault_in_every_mode() -> None:
    every = cells()
    assert len(every) == len(set(every)) > 300
    for mode in MODES:
        lacking = set(FAULTS) - {cell.fault for cell in every if cell.mode == mode}
        assert lacking <= ({"kill-criu", "corrupt"} if mode == "cold" else set())


def test_a_sample_has_something_of_everything() -> None:
    for seed in range(20):
        chosen = sample(NUMBER, seed)
        assert len(chosen) == len(set(chosen)) == NUMBER
        assert {cell.fault for cell in chosen} == set(FAULTS)
        assert {cell.mode for cell in chosen} == set(MODES)
        assert sum(cell.fault == "cut" for cell in chosen) == 1  # it takes some 20 s
    assert sample(NUMBER, 1) == sample(NUMBER, 1) != sample(NUMBER, 2)


@pytest.fixture(scope="module")
def made(lan: Lan) -> Iterator[Stage]:
    with stage(lan) as there:
        yield there
        there.remove()


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", sample(NUMBER, SEED), ids=str)
def test_the_container_lives_once(made: Stage, cell: Cell) -> None:
    try:
        made.carry_out(cell)
    except Wrong:
        made.clear()
        raise
