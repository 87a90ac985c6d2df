"""The journal: what it says after any end of its writer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.evacuate.execution.course import Outcome, State
from migrate.evacuate.execution.errors import EvacuationJournalBad
from migrate.evacuate.execution.journal import Journal, directory_of, read
from migrate.runtime.errors import SpecInvalid
from migrate.runtime.paths import Paths
from tests.evacuate.execution.fakes import task


def outcome(name: str, state: State) -> Outcome:
    return Outcome(f"id-{name}", name, "alpha", "beta", state)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    assert not journal.is_open
    journal.begin("alpha", "root@alpha", {"beta": "root@beta"})
    for name in "abc":
        journal.write("moving", task=task(name))
    journal.write("outcome", outcome=outcome("a", State.MOVED))
    journal.write("outcome", outcome=outcome("b", State.FAILED))
    again = Journal(tmp_path / "j")
    assert again.lines == journal.lines
    assert again.is_open
    assert set(again.moved) == {"id-a"}
    assert set(again.unfinished) == {"id-c"}
    assert again.addresses == {"beta": "root@beta"}
    again.write("outcome", outcome=outcome("c", State.UNSETTLED))
    assert set(again.unfinished) == {"id-c"}
    again.write("ended")
    assert not again.is_open
    assert set(again.moved) == {"id-a"}


def test_what_came_back_is_set_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for turn in range(8):
        journal.begin("alpha", "root@alpha", {f"beta{turn}": "root@beta"})
        journal.write("outcome", outcome=outcome("a", State.MOVED))
        journal.write("returned")
        assert journal.moved == {}
    assert {path.name for path in journal.directory.iterdir()} == {
        "journal", *(f"journal.{number}" for number in range(1, 6)),
    }  # fmt: skip
    assert set(Journal(tmp_path / "j").addresses) == {"beta7"}


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.begin("alpha", "", {})
    journal.write("moving", task=task("a"))
    whole = journal.path.read_bytes()
    second = whole.index(b"\n") + 1
    for length in range(second, len(whole)):
        journal.path.write_bytes(whole[:length])
        cut = Journal(tmp_path / "j")
        assert cut.unfinished == {}
        cut.write("moving", task=task("b"))
        assert set(Journal(tmp_path / "j").unfinished) == {"id-b"}


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    path.write_bytes(data + b"\n")
    with pytest.raises(EvacuationJournalBad):
        read(path)


@pytest.mark.parametrize("host_id", ["", "..", "../x", "a/b", ".hidden", "x" * 65, "a\n"])
def test_a_host_id_names_one_directory(tmp_path: Path, host_id: str) -> None:
    with pytest.raises(EvacuationJournalBad):
        directory_of(Paths(tmp_path, tmp_path), host_id)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.begin("alpha", "", {})
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.directory.stat().st_mode & 0o777 == 0o700
    assert journal.log_of("a").parent.stat().st_mode & 0o777 == 0o700
    assert msgspec.json.decode(journal.path.read_bytes())["kind"] == "begun"


def test_who_only_reads_changes_nothing(tmp_path: Path) -> None:
    """The one who writes may be in the middle of a line."""
    journal = Journal(tmp_path / "j")
    journal.begin("alpha", "", {})
    torn = journal.path.read_bytes() + b'{"kind": "mov'
    journal.path.write_bytes(torn)
    assert len(Journal(tmp_path / "j").lines) == 1
    assert journal.path.read_bytes() == torn


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/x"])
def test_a_container_names_one_log(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecInvalid):
        Journal(tmp_path / "j").log_of(name)
