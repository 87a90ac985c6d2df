"""Failures of the real CRIU, on real processes: the error names cause and mend."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.criu.catalogue import CATALOGUE
from migrate.criu.diagnosis import explain
from tests.criu.catalogue.stage import SCENES

pytestmark = [pytest.mark.root, pytest.mark.criu]
BY_NAME = {known.name: known for known in CATALOGUE}
STAGE = ("unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short one: the name of a unix socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="mgcat") as path:
        yield Path(path)


@pytest.mark.parametrize("scene", SCENES)
def test_a_provoked_failure_is_explained(directory, scene):
    done = subprocess.run(
        [*STAGE, sys.executable, "-m", "tests.criu.catalogue.stage", scene, directory],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    log = directory / "log"
    assert log.exists(), done.stderr
    told = log.read_text(errors="replace")
    assert done.returncode == 1, f"{done.stderr}\n{told}"
    error, known = explain(log, "criu could not do it"), BY_NAME[scene]
    assert error.cause.startswith(f"{known.cause} (criu: "), told
    assert known.matches(error.cause[:-1]), error.cause
    assert error.mend == known.mend
