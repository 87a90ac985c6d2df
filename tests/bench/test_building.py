"""Programs in C for a benchmark."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from migrate.bench.building import build
from migrate.bench.errors import BenchImpossible


def test_what_is_built_runs(tmp_path: Path) -> None:
    source = tmp_path / "seven.c"
    source.write_text("int main(void) { return 7; }\n")
    made = build(source, tmp_path)
    assert made == tmp_path / "seven"
    assert subprocess.run([made], check=False).returncode == 7


def test_the_compilers_complaint_is_told(tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text("int main(void) { return unknown; }\n")
    with pytest.raises(BenchImpossible, match=r"bad\.c can't be built\n  cause: .*unknown"):
        build(source, tmp_path)


def test_a_machine_without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchImpossible, match="no C compiler"):
        build(tmp_path / "any.c", tmp_path)
