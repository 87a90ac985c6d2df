"""Each line that is known: as the CRIU that is installed has it, and told from all the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.criu.catalogue import CATALOGUE, find
from migrate.criu.catalogue.known import Known
from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuFailed
from migrate.criu.provide import criu_binary
from migrate.errors import DiskFull
from tests.criu.catalogue.document import DOCUMENT, text

LINES = dict(
    line.split(" ", 1)
    for line in Path(__file__).with_name("lines.txt").read_text().splitlines()
)  # fmt: skip
BY_NAME = {known.name: known for known in CATALOGUE}
UNKNOWN = "(00.03) Error (criu/somewhere.c:12): Nobody knows this"
KILLED = LINES["task-killed"]


def explained(tmp_path, *lines):
    log = tmp_path / "log"
    log.write_text("".join(f"{line}\n" for line in lines))
    return explain(log, "criu could not do it")


def test_every_entry_has_a_name_of_its_own_and_a_line_as_criu_prints_it():
    assert len(BY_NAME) == len(CATALOGUE)
    assert sorted(LINES) == sorted(BY_NAME)
    assert all(known.cause and known.mend for known in CATALOGUE)


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_told_from_all_others(tmp_path, name):
    line, known = LINES[name], BY_NAME[name]
    assert [other.name for other in CATALOGUE if other.matches(line)] == [name]
    error = explained(tmp_path, "(00.01) Some progress", line)
    assert isinstance(error, CriuFailed)
    assert error.cause == f"{known.cause} (criu: {line.strip()})"
    assert error.mend == known.mend


@pytest.fixture(scope="module")
def program() -> bytes:
    return criu_binary().read_bytes()


@pytest.mark.criu
@pytest.mark.parametrize("known", CATALOGUE, ids=lambda known: known.name)
def test_the_installed_criu_has_that_line_and_that_file(program, known: Known):
    """Its formats stand in it with what its pr_err and pr_warn put before (criu/include/log.h)."""
    level = "Warn  " if known.warning else "Error "
    assert f"{level}(%s:%d): {known.line}\n".encode() in program
    assert f"\0{known.file}\0".encode() in program


def test_no_entry_knows_a_line_of_another_file_or_with_more_behind_it():
    line = LINES["packet-pipe"]
    assert find(line) is BY_NAME["packet-pipe"]
    assert find(line.replace("criu/pipes.c", "criu/fifo.c")) is None
    assert find(line + " at all") is None
    assert find(line.replace("Error (", "Warn  (")) is None


def test_what_nobody_knows_is_quoted(tmp_path):
    error = explained(tmp_path, UNKNOWN)
    assert UNKNOWN in error.cause
    assert str(tmp_path / "log") in error.cause
    assert "wrote no error" in explained(tmp_path).cause


def test_the_cause_behind_an_effect_is_found(tmp_path):
    error = explained(tmp_path, UNKNOWN, LINES["packet-pipe"], KILLED)
    assert error.mend == BY_NAME["packet-pipe"].mend


def test_an_effect_is_no_cause_of_an_error_that_nobody_knows(tmp_path):
    """CRIU kills what it has restored when a restore fails: not for want of memory."""
    assert "memory" in explained(tmp_path, KILLED).cause
    error = explained(tmp_path, UNKNOWN, KILLED)
    assert UNKNOWN in error.cause
    assert "memory" not in error.cause


def test_a_warning_counts_where_no_error_is_understood(tmp_path):
    warning = LINES["not-seizable"]
    assert "tracer" in explained(tmp_path, warning, UNKNOWN).cause
    error = explained(tmp_path, warning, LINES["packet-pipe"])
    assert error.mend == BY_NAME["packet-pipe"].mend


def test_a_full_disk_is_an_error_of_its_own(tmp_path):
    line = "(00.1) Error (criu/image.c:845): Can't write img file: No space left on device"
    assert isinstance(explained(tmp_path, line, KILLED), DiskFull)
    assert "No space left" in LINES["watch-not-restored"]
    assert not isinstance(explained(tmp_path, LINES["watch-not-restored"]), DiskFull)


def test_the_document_has_what_the_catalogue_has():
    assert DOCUMENT.read_text() == text(), "run: python -m tests.criu.catalogue.document"
