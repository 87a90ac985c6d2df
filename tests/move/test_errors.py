"""What a move that was undone tells."""

import pytest

from migrate.checkpoint.errors import EndedWithCriu
from migrate.errors import HostNotReady, MigrateError
from migrate.move.errors import (
    ContainerEnded,
    Interrupted,
    MoveRolledBack,
    not_written,
    rolled_back,
)


@pytest.mark.parametrize(
    ("error", "ended", "kind", "words"),
    [
        (OSError(28, "No space left on device"), False, MoveRolledBack, "No space left"),
        (MemoryError(), False, MoveRolledBack, "can get no more memory"),
        (RuntimeError("can't start new thread"), False, MoveRolledBack, "can get no more memory"),
        (HostNotReady("it has no CRIU", cause="why"), False, MoveRolledBack, "it has no CRIU: why"),
        (HostNotReady("it has no CRIU"), True, ContainerEnded, "it has ended meanwhile"),
        (KeyboardInterrupt(), False, Interrupted, "was interrupted"),
        (EndedWithCriu("gone"), True, EndedWithCriu, "gone"),
    ],
)
def test_it_says_what_runs_where(
    error: BaseException, ended: bool, kind: type[MigrateError], words: str
) -> None:
    told = rolled_back("web", error, ended=ended)
    assert isinstance(told, kind)
    assert words in str(told)


def test_a_defect_stays_what_it_is() -> None:
    for defect in (KeyError("x"), RuntimeError("x")):
        assert rolled_back("web", defect, ended=False) is defect


def test_what_could_not_be_written_down_is_told() -> None:
    told = not_written("web", MemoryError(), OSError(27, "File too large"))
    assert rolled_back("web", told, ended=False) is told
    assert "File too large" in told.cause
    assert "MemoryError" in told.cause
    assert "migrate recover web" in told.mend
