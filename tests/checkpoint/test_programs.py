"""Every kind of state, each in a C program of its own: two checkpoints, and a look after each."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.save import save
from tests.states.building import KINDS, build
from tests.states.running import check, run

pytestmark = [pytest.mark.root, pytest.mark.criu]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("programs")
    directory.chmod(0o755)
    build(directory)
    return directory


def test_all_is_kept_over_two_checkpoints(place, programs: Path):
    """Where one fails, `python -m tests.states` tells which it is."""
    record = run(place, programs, KINDS)
    check(place, record, KINDS)
    for turn in range(2):
        output = place.directory / f"checkpoint{turn}"
        save(place.paths, record, str(output))
        bring_back(place.paths, output)
        check(place, record, KINDS)
