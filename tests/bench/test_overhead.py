"""The pause of a move against raw CRIU: the number that must hold, measured with the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts, pytest.mark.alone]


def test_the_pause_is_at_most_twice_that_of_raw_criu(tmp_path: Path) -> None:
    result = tmp_path / "overhead.json"
    done = subprocess.run(
        [Path(sys.executable).with_name("migrate"), "bench", "overhead", "--runs", "3", "--check",
         "--output", result],
        capture_output=True, text=True, timeout=110, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(result.read_text())
    assert 0 < told["ratio"] <= 2.0
    assert len(told["move"]["runs"]) == len(told["raw"]["runs"]) == 3
